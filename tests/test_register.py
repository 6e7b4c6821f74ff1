"""`nnunet-vmunet register`, always on copies of nnU-Net: the environment's own installation is never written to."""

import errno
import json
import os
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from installations import copy_nnunet, copy_package, write_metadata

import nnunet_vmunet
from nnunet_vmunet import register
from nnunet_vmunet.cli import main
from nnunet_vmunet.errors import InputError

CHECKOUT = Path(nnunet_vmunet.__file__).resolve().parents[1]
TRAINERS = "training/nnUNetTrainer/variants/vmunet"
READERS = "imageio/vmunet"
PLANNERS = "experiment_planning/experiment_planners/vmunet"
PREPROCESSORS = "preprocessing/vmunet"
RESAMPLING = "preprocessing/resampling/vmunet"
SHIMS = (
    f"{TRAINERS}/vmunet_trainers.py",
    f"{READERS}/vmunet_image_io.py",
    f"{PLANNERS}/vmunet_planners.py",
    f"{PREPROCESSORS}/vmunet_preprocessing.py",
    f"{RESAMPLING}/vmunet_resampling.py",
)
INSTALLED = metadata.version("nnunetv2")
FOLDERS = (TRAINERS, READERS, PLANNERS, PREPROCESSORS, RESAMPLING)
SEARCHED = tuple(str(Path(folder).parent) for folder in FOLDERS)  # nnU-Net's own

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")  # to the disk, in Python's audit events; and "open"

COMMAND = "import sys; from nnunet_vmunet.cli import main; sys.exit(main(sys.argv[1:]))"
SEARCH = """
import json, os, sys, nnunetv2
from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name
from nnunetv2.preprocessing.resampling.utils import recursive_find_resampling_fn_by_name
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

def find_planner(name):  # as nnUNetv2_plan_experiment does
    folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    return recursive_find_python_class(folder, name, current_module="nnunetv2.experiment_planning")

def find_preprocessor(name):  # as nnU-Net's ConfigurationManager does
    folder = os.path.join(nnunetv2.__path__[0], "preprocessing")
    return recursive_find_python_class(folder, name, current_module="nnunetv2.preprocessing")

def module_of(search, name):
    try:
        return getattr(search(name), "__module__", "not found")
    except RuntimeError:
        return "not found"

print(json.dumps({
    "nnunet": nnunetv2.__path__[0],
    "trainer": module_of(recursive_find_trainer_class_by_name, "nnUNetTrainerVMUNet"),
    "variant": module_of(recursive_find_trainer_class_by_name, "nnUNetTrainerVMUNet_20epochs"),
    "stock trainer": module_of(recursive_find_trainer_class_by_name, "nnUNetTrainer_5epochs"),
    "reader": module_of(recursive_find_reader_writer_by_name, "WholeImage2DIO"),
    "reader of grey images": module_of(recursive_find_reader_writer_by_name, "WholeGreyImage2DIO"),
    "reader of RGBA images": module_of(recursive_find_reader_writer_by_name, "WholeRGBAImage2DIO"),
    "planner": module_of(find_planner, "VMUNetPlanner"),
    "paper's geometry": module_of(find_planner, "VMUNetPlanner224"),
    "paper's planner": module_of(find_planner, "VMUNetPlannerPaper"),
    "preprocessor": module_of(find_preprocessor, "PaperPreprocessor"),
    "resampling": module_of(recursive_find_resampling_fn_by_name, "resample_averaging"),
    "stock planner": module_of(find_planner, "nnUNetPlannerResEncM"),
    "shim stays imported": "vmunet_trainers" in sys.modules,
}))
"""


class Python:
    """An interpreter that has our code, torch, and the nnU-Net under test as its nnunetv2."""

    def __init__(self, executable, nnunet: Path, *path: Path):
        self.executable, self.nnunet = str(executable), nnunet
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, CHECKOUT)))}
        for variable in ("nnUNet_extTrainer", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
            self.environment.pop(variable, None)

    def __call__(self, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.executable, "-c", code, *arguments],
            cwd=self.nnunet.parent,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        """`nnunet-vmunet` with these arguments."""
        return self(COMMAND, *arguments)

    def search(self, **environment: str) -> dict:
        """What nnU-Net's own searches find: the module of each class."""
        done = self(SEARCH, **environment)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found.pop("nnunet") == str(self.nnunet), "the test looked at another nnU-Net"
        return found


def write_editable_metadata(site: Path, version: str, checkout: Path) -> None:
    """A site that is searched first, where pip noted an editable install of a checkout."""
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    (write_metadata(site, version) / "direct_url.json").write_text(json.dumps(origin))
    sys.path.insert(0, str(site))  # put back by the `site` fixture's monkeypatch


def write_pyproject(checkout: Path, version: str) -> None:
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n\n'
        f'[project]\nname = "nnunetv2"\nversion = "{version}"\n\n'
        '[tool.setuptools.packages.find]\ninclude = ["nnunetv2*"]\n'
    )


@pytest.fixture
def regular(tmp_path) -> Python:
    nnunet = copy_nnunet(tmp_path / "site")
    return Python(sys.executable, nnunet, nnunet.parent)


@pytest.fixture
def editable(tmp_path) -> Python:
    """A virtual environment into which pip installed a checkout of nnU-Net with -e."""
    nnunet = copy_package(tmp_path / "nnUNet")
    write_pyproject(nnunet.parent, INSTALLED)
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    # Everything else comes from this environment, by links: its own nnunetv2 would come before the editable one.
    links = tmp_path / "links"
    links.mkdir()
    for site in (Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))):
        for entry in site.iterdir():
            if not entry.name.startswith("nnunetv2") and not (links / entry.name).is_symlink():
                (links / entry.name).symlink_to(entry)
    own_site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (own_site / "links.pth").write_text(f"{links}\n")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "--ignore-installed",
            "-e",
            str(nnunet.parent),
        ],
        check=True,
        cwd=tmp_path,
    )
    return Python(python, nnunet)


@pytest.fixture
def site(monkeypatch):
    """A site with a hollow nnU-Net 2.8.1 that this process would import: for what needs none of nnU-Net's code."""
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which is its owner's alone: other users come here
        site = Path(folder)
        site.chmod(0o755)
        for folder in SEARCHED:
            (site / "nnunetv2" / folder).mkdir(parents=True)
        (site / "nnunetv2" / "__init__.py").touch()
        write_metadata(site, "2.8.1")
        monkeypatch.delitem(sys.modules, "nnunetv2", raising=False)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delenv("nnUNet_extTrainer", raising=False)
        assert register.find_nnunet() == site / "nnunetv2"
        yield site


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time of change and bytes; folders too, but not what Python compiles of nnU-Net itself."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else (0, b"")
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts or "vmunet" in path.parts
    }


@pytest.mark.parametrize("install", ["regular", pytest.param("editable", marks=pytest.mark.slow)])
def test_register_check_and_remove(install, request):
    python = request.getfixturevalue(install)
    before = contents(python.nnunet)

    check = python.command("register", "--check")
    assert check.returncode == 1
    assert check.stdout.count("missing ") == len(SHIMS)
    assert f"nnU-Net {INSTALLED} in {python.nnunet}" in check.stdout

    first = python.command("register")
    assert first.returncode == 0, first.stderr
    for shim in SHIMS:
        assert f"wrote {python.nnunet / shim}" in first.stdout
    registered = contents(python.nnunet)
    assert set(registered) - set(before) == {
        TRAINERS,
        f"{TRAINERS}/__init__.py",
        f"{TRAINERS}/vmunet_trainers.py",
        READERS,
        f"{READERS}/__init__.py",
        f"{READERS}/vmunet_image_io.py",
        PLANNERS,
        f"{PLANNERS}/__init__.py",
        f"{PLANNERS}/vmunet_planners.py",
        PREPROCESSORS,
        f"{PREPROCESSORS}/__init__.py",
        f"{PREPROCESSORS}/vmunet_preprocessing.py",
        RESAMPLING,
        f"{RESAMPLING}/__init__.py",
        f"{RESAMPLING}/vmunet_resampling.py",
    }

    second = python.command("register")
    assert second.returncode == 0
    assert second.stdout.startswith("already registered")
    assert contents(python.nnunet) == registered

    check = python.command("register", "--check")
    assert check.returncode == 0
    assert check.stdout.count("registered ") == len(SHIMS)

    found = python.search()
    assert found["trainer"].startswith("nnunet_vmunet.trainers")
    assert found["variant"].startswith("nnunet_vmunet.trainers")
    assert found["reader"] == "nnunet_vmunet.image_io"
    assert found["planner"] == found["paper's geometry"] == "nnunet_vmunet.planner"
    assert found["paper's planner"] == "nnunet_vmunet.paper_planner"
    assert found["preprocessor"] == "nnunet_vmunet.preprocessing"
    assert found["resampling"] == "nnunet_vmunet.resampling"
    assert found["stock trainer"].startswith("nnunetv2.")
    assert found["stock planner"].startswith("nnunetv2.")
    assert any("vmunet" in path and path.endswith(".pyc") for path in contents(python.nnunet))

    remove = python.command("register", "--remove")
    assert remove.returncode == 0, remove.stderr
    assert contents(python.nnunet) == before
    assert python.command("register", "--check").returncode == 1
    again = python.command("register", "--remove")
    assert again.returncode == 0
    assert again.stdout.startswith("nothing to remove")


def test_ext_trainer_folder_finds_the_trainers(regular):
    found = regular.search(nnUNet_extTrainer=str(register.SHIMS_FOLDER / "trainers"))
    assert found["trainer"].startswith("nnunet_vmunet.trainers")
    assert found["variant"].startswith("nnunet_vmunet.trainers")
    assert found["stock trainer"].startswith("nnunetv2.")
    assert found["reader"] == found["planner"] == "not found"
    assert not found["shim stays imported"]
    assert not (regular.nnunet / TRAINERS).exists()


def run_shim(shim: str, path: Path) -> subprocess.CompletedProcess:
    """Import a shim where only the standard library and `path` can be imported."""
    code = "import sys, runpy; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2])"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, path, register.SHIMS_FOLDER / shim], capture_output=True, text=True
    )


@pytest.mark.parametrize("shim", register.SHIMS)
def test_left_over_shim_is_silent_after_our_uninstall(shim, tmp_path):
    assert run_shim(shim, tmp_path).returncode == 0
    (tmp_path / "nnunet_vmunet" / "ops" / "__pycache__").mkdir(parents=True)
    assert run_shim(shim, tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("shim", "module"),
    list(zip(register.SHIMS, ("trainers", "image_io", "paper_planner", "preprocessing", "resampling"), strict=True)),
)
def test_shim_shows_what_else_is_missing(shim, module, tmp_path):
    (tmp_path / "nnunet_vmunet").mkdir()
    (tmp_path / "nnunet_vmunet" / "__init__.py").touch()
    (tmp_path / "nnunet_vmunet" / "errors.py").write_text("def end_in_one_line(): pass")
    (tmp_path / "nnunet_vmunet" / f"{module}.py").write_text("import a_missing_dependency")
    assert "No module named 'a_missing_dependency'" in run_shim(shim, tmp_path).stderr


@pytest.mark.parametrize("version", ["2.7.0", "2.8.0rc1", "3.0.0"])
def test_unsupported_version_is_refused(version, site, capsys):
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "away")
    write_metadata(site, version)
    before = contents(site)
    assert main(["register"]) == 2
    error = capsys.readouterr().err
    assert f"nnU-Net {version} in {site / 'nnunetv2'}" in error
    assert "nnunetv2<3,>=2.8" in error
    assert error.count("\n") == 1
    assert contents(site) == before
    assert main(["register", "--check"]) == 1
    assert f"nnU-Net {version}" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["2.8.0", "2.9.1", "2.8.1.post1", "2.9.0rc1"])
def test_supported_version(version, site):
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "away")
    write_metadata(site, version)
    register.register()
    assert register.check()


def test_remove_works_on_any_version(site):
    before = set(contents(site / "nnunetv2"))
    register.register()
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "away")
    write_metadata(site, "3.0.0")
    assert not register.check()
    register.remove()
    assert set(contents(site / "nnunetv2")) == before


def test_version_is_that_of_the_checkout_on_the_path(site, monkeypatch):
    # The metadata beside it says 2.8.1, as that of an editable install does after `git pull`.
    write_pyproject(site, "2.7.3")
    with pytest.raises(InputError, match=r"nnU-Net 2\.7\.3 .* needs nnunetv2<3,>=2\.8"):
        register.register()


def test_version_of_another_installation_does_not_count(site):
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "away")
    write_editable_metadata(site / "elsewhere", "2.8.2", checkout=site / "another_checkout")
    with pytest.raises(InputError, match="cannot tell the version of nnU-Net in"):
        register.register()


def test_version_of_an_editable_install_without_a_static_version(site):
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "away")
    write_editable_metadata(site / "elsewhere", "2.8.2", checkout=site)
    assert register.version_of(site / "nnunetv2") == "2.8.2"


def test_nnunet_not_installed(monkeypatch):
    monkeypatch.setattr(register, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'not installed .* run pip install "nnunetv2<3,>=2\.8"'):
        register.register()


def test_namespace_package_is_explained(tmp_path, monkeypatch):
    (tmp_path / "nnunetv2" / "training").mkdir(parents=True)
    monkeypatch.setattr(register, "find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    with pytest.raises(InputError, match=rf"{tmp_path}/nnunetv2 .* no __init__\.py .* delete or rename"):
        register.register()


def test_outdated_shim_is_refreshed(site, capsys):
    register.register()
    good = contents(site / "nnunetv2").keys()
    shim = site / "nnunetv2" / SHIMS[0]
    current = shim.read_bytes()
    shim.write_bytes(register.MARK + b" of an older release\n")
    assert not register.check()
    assert f"outdated    {SHIMS[0]}" in capsys.readouterr().out
    register.register()
    out = capsys.readouterr().out
    assert f"refreshed {shim}" in out
    assert "wrote" not in out
    assert shim.read_bytes() == current
    assert contents(site / "nnunetv2").keys() == good


@pytest.mark.parametrize("killed_at", range(2 * len(SHIMS)))
def test_running_again_repairs_a_killed_run(killed_at, site, monkeypatch):
    """Killed while it writes the n-th of its files, a shim and an __init__.py in each folder."""
    before = set(contents(site / "nnunetv2"))
    replaced = []

    def replace(source, target):
        if len(replaced) == killed_at:
            Path(source).write_bytes(b"")
            raise KeyboardInterrupt
        replaced.append(target)
        os.rename(source, target)

    with monkeypatch.context() as context:
        context.setattr(register.os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            register.register()
    assert not register.check()
    register.register()
    assert register.check()
    register.remove()
    assert set(contents(site / "nnunetv2")) == before


def test_foreign_files_are_kept(site, capsys):
    register.register()
    mine = site / "nnunetv2" / TRAINERS / "my_trainer.py"
    mine.write_text("# mine")
    cache = mine.parent / "__pycache__"
    cache.mkdir()
    for name in ("my_trainer", "vmunet_trainers"):
        (cache / f"{name}.cpython-311.pyc").touch()
    register.remove()
    assert f"left {mine}" in capsys.readouterr().out
    # Without the __init__.py nnU-Net would no longer find the user's trainer.
    assert {path.name for path in mine.parent.iterdir()} == {"my_trainer.py", "__init__.py", "__pycache__"}
    assert [path.name for path in cache.iterdir()] == ["my_trainer.cpython-311.pyc"]
    assert not (site / "nnunetv2" / READERS).exists()
    assert not (site / "nnunetv2" / PLANNERS).exists()
    register.register()
    assert mine.read_text() == "# mine"
    assert register.check()


def test_foreign_file_in_the_way_is_neither_overwritten_nor_removed(site):
    shim = site / "nnunetv2" / SHIMS[1]
    shim.parent.mkdir()
    shim.write_text("# mine")
    with pytest.raises(InputError, match="is in the way and not ours: move it elsewhere"):
        register.register()
    register.remove()
    assert shim.read_text() == "# mine"
    assert not (site / "nnunetv2" / TRAINERS).exists()


@pytest.fixture
def refuse_changes(site):
    """Let the operating system refuse, with an error number, whatever this process would change in the site.

    Python asks audit hooks before it asks the system. A folder without permission would not stop a test run by root.
    """
    numbers = []

    def refuse(event: str, arguments: tuple) -> None:
        changes = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if numbers and changes and Path(str(arguments[0])).is_relative_to(site):
            raise OSError(numbers[0], os.strerror(numbers[0]), str(arguments[0]))

    sys.addaudithook(refuse)  # for ever: no hook can be taken away
    yield numbers.append
    numbers.clear()


def assert_explains_the_variable(error: str) -> None:
    assert error.count("\n") == 1
    assert "run register as the user who owns this nnU-Net" in error
    assert "photographs must be brought to the training size first" in error
    assert error.endswith(f"export nnUNet_extTrainer={register.SHIMS_FOLDER / 'trainers'}\n")


def test_register_without_permission(refuse_changes, site, capsys):
    before = contents(site)
    refuse_changes(errno.EACCES)
    assert main(["register"]) == 2
    error = capsys.readouterr().err
    assert f"cannot write {site / 'nnunetv2' / SHIMS[0]} (Permission denied)" in error
    assert_explains_the_variable(error)
    assert contents(site) == before


@pytest.fixture
def registered(site) -> Path:
    register.register()
    return site


def test_remove_without_permission(registered, refuse_changes, capsys):
    before = contents(registered)
    refuse_changes(errno.EACCES)
    assert main(["register", "--remove"]) == 2
    error = capsys.readouterr().err
    assert "cannot delete" in error
    assert "(Permission denied): run register --remove as the user who owns" in error
    assert contents(registered) == before


def test_read_only_file_system(refuse_changes, site, capsys):
    refuse_changes(errno.EROFS)
    assert main(["register"]) == 2
    error = capsys.readouterr().err
    assert "(Read-only file system)" in error
    assert_explains_the_variable(error)


def test_export_line_keeps_the_folders_that_are_searched_already(refuse_changes, site, monkeypatch):
    refuse_changes(errno.EACCES)
    monkeypatch.setenv("nnUNet_extTrainer", "/my trainers")
    with pytest.raises(InputError, match=rf"export nnUNet_extTrainer='/my trainers:{register.SHIMS_FOLDER}/trainers'$"):
        register.register()
