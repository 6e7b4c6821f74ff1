"""The page in a browser: a real person's way through it, in headless Chromium."""

from __future__ import annotations

import io
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from model_folders import CT, Trained
from PIL import Image

from nnunet_vmunet import load_model
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.synthetic_lesions import lesion_photograph

pytest.importorskip("gradio")
webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Chromium and its driver (Debian: apt install chromium chromium-driver)",
)

SECONDS = 180


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        options.add_experimental_option("prefs", {"download.default_directory": f"{profile}/downloads"})
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        Path(profile, "downloads").mkdir()
        driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        driver.downloads = Path(profile, "downloads")
        yield driver
        driver.quit()


class Page:
    """What a user sees of the page, and does with it."""

    def __init__(self, browser, address: str) -> None:
        self.browser = browser
        browser.get(address)

    def wait(self, condition):
        return WebDriverWait(self.browser, SECONDS, 0.1).until(lambda _: condition())

    def drop(self, file: Path) -> None:
        """Upload a file, and wait for the answer."""
        before = self.said()
        (field,) = self.wait(lambda: self.browser.find_elements(By.CSS_SELECTOR, "#upload input[type=file]"))
        field.send_keys(str(file))
        self.wait(lambda: self.said() not in ("", before))

    def take_away(self) -> None:
        (button,) = self.browser.find_elements(By.CSS_SELECTOR, "#upload button[aria-label='Clear']")
        button.click()
        self.wait(lambda: not self.said())

    def said(self) -> str:
        return "\n".join(element.text for element in self.browser.find_elements(By.ID, "said")).strip()

    def picture(self) -> np.ndarray:
        """(h, w, 3)"""
        (image,) = self.wait(lambda: self.browser.find_elements(By.CSS_SELECTOR, "#picture img"))
        return pixels(fetched(image.get_attribute("src")))[..., :3]

    def mask(self) -> bytes:
        """What a click on the button downloads."""
        for earlier in self.browser.downloads.iterdir():
            earlier.unlink()
        self.browser.find_element(By.ID, "mask").click()
        (file,) = self.wait(self._downloaded)
        return file.read_bytes()

    def _downloaded(self) -> list[Path]:
        """Whole files: while Chromium writes one, an empty one has its name."""
        files = list(self.browser.downloads.iterdir())
        whole = all(file.suffix != ".crdownload" and file.stat().st_size for file in files)
        return files if whole else []

    def slider(self):
        found = self.browser.find_elements(By.CSS_SELECTOR, "#slices input[type=number]")
        return found[0] if found and found[0].is_displayed() else None

    def shoot(self, file: Path) -> None:
        self.browser.save_screenshot(str(file))


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        return answer.read()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture
def serve(browser, tmp_path):
    """serve(model): the page of a model, open in the browser."""
    import gradio

    from nnunet_vmunet.app.page import LOOK, page

    served = []

    def serve(model) -> Page:
        blocks = page(model, tmp_path)
        served.append(blocks)
        _, address, _ = blocks.launch(quiet=True, prevent_thread_lock=True, max_file_size="1mb", **LOOK)
        return Page(browser, address)

    yield serve
    for blocks in served:
        blocks.close()
    gradio.close_all()


def has_colour(picture: np.ndarray, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=-1) < 30).sum() > 20)


def test_a_photograph_becomes_a_contour_and_a_mask(serve, shared, tmp_path):
    photograph = sorted((shared / "data" / "dermoscopy").glob("*.jpg"))[0]
    model = load_model(Trained().write(tmp_path / "results"))
    page = serve(model)
    page.drop(photograph)
    assert page.said().startswith("Found: lesion ")
    picture = page.picture()
    assert picture.shape == (450, 600, 3)
    assert has_colour(picture, "#00ccff")
    assert page.slider() is None
    page.shoot(tmp_path / "page.png")
    expected = model.predict(photograph)
    expected.save(tmp_path / "mask.png")
    assert page.mask() == (tmp_path / "mask.png").read_bytes()


def test_the_slices_of_a_volume_are_scrolled(serve, shared, tmp_path):
    scan = shared / "data" / "abdomen_ct" / "img0001.nii.gz"
    small = sitk.ReadImage(str(scan))[20:90, 10:80, 40:50]
    sitk.WriteImage(small, str(tmp_path / "scan.nii.gz"))
    model = load_model(CT.write(tmp_path / "results"))
    page = serve(model)
    page.drop(tmp_path / "scan.nii.gz")
    slider = page.wait(page.slider)
    first = page.picture()
    slider.clear()
    slider.send_keys("3\t")
    page.wait(lambda: not np.array_equal(page.picture(), first))
    page.shoot(tmp_path / "page.png")
    (tmp_path / "mask.nii.gz").write_bytes(page.mask())
    mask = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert mask.GetSpacing() == pytest.approx(small.GetSpacing())
    assert np.array_equal(sitk.GetArrayFromImage(mask), model.predict(tmp_path / "scan.nii.gz").mask)


def test_a_broken_file_gets_a_sentence_and_the_next_one_a_picture(serve, tmp_path):
    page = serve(load_model(Trained().write(tmp_path / "results")))
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    page.drop(tmp_path / "broken.png")
    assert page.said().startswith("broken.png cannot be read as an image, copy or download it again")
    assert str(tempfile.gettempdir()) not in page.said()
    page.take_away()
    lesion_photograph(np.random.default_rng(0), 200, 150)[0].save(tmp_path / "photo.jpg")
    page.drop(tmp_path / "photo.jpg")
    assert page.said().startswith("Found: ")
    assert page.picture().ndim == 3


def test_a_file_that_is_too_large_is_refused(serve, tmp_path):
    page = serve(load_model(Trained().write(tmp_path / "results")))
    noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 1e6
    (field,) = page.wait(lambda: page.browser.find_elements(By.CSS_SELECTOR, "#upload input[type=file]"))
    field.send_keys(str(tmp_path / "large.png"))
    page.wait(lambda: "size" in page.browser.find_element(By.TAG_NAME, "body").text.lower())
    time.sleep(0.5)
    assert not page.said()


def test_the_command_listens_on_this_machine_alone(tmp_path, capsys):
    from nnunet_vmunet.app.page import serve as serve_page

    address = serve_page(load_model(Trained().write(tmp_path)), block=False)
    assert address.startswith("http://127.0.0.1:")
    assert "Open http://127.0.0.1:" in capsys.readouterr().out
    import gradio

    gradio.close_all()


def test_a_model_of_several_files_is_refused(tmp_path):
    from nnunet_vmunet.app.page import serve as serve_page

    model = load_model(Trained(channels=("T1", "T2"), reader="SimpleITKIO", ending=".nii.gz").write(tmp_path))
    with pytest.raises(InputError, match="takes 2 files for an image: use nnunet-vmunet predict"):
        serve_page(model, block=False)
