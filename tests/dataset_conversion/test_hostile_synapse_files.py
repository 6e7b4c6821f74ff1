"""Data files made to harm: Synapse in TransUNet's form, whose containers could hold code, links and untrue sizes."""

import io
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from nnunet_vmunet.dataset_conversion.synapse_preprocessed import Case, convert
from nnunet_vmunet.errors import InputError

HUGE = (10_000, 10_000, 10_000)  # 4 TB of float32


class RunsCode:
    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def refused(tmp_path):
    """Convert a case of this one file, which is refused: nothing is written, and nothing was executed."""
    marker = tmp_path / "executed"

    def refuse(file) -> str:
        written = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
        with pytest.raises(InputError) as refusal:
            convert(Case("case0001", (file,)), 8, *written)
        message = str(refusal.value)
        assert message.startswith(str(file))
        assert "\n" not in message
        assert not marker.exists()
        assert not any(target.exists() for target in written)
        return message

    refuse.marker = marker
    return refuse


def test_pickled_objects_in_npz_stay_pickled(refused, tmp_path):
    file = tmp_path / "case0005_slice000.npz"
    np.savez(file, image=np.array([RunsCode(refused.marker)], dtype=object), label=np.zeros((4, 4)))
    assert "allow_pickle=False" in refused(file)
    np.load(file, allow_pickle=True)["image"]
    assert refused.marker.exists()  # it would have run


def test_a_pickle_called_npz(refused, tmp_path):
    file = tmp_path / "case0005_slice000.npz"
    file.write_bytes(pickle.dumps(RunsCode(refused.marker)))
    refused(file)


def test_sizes_that_an_npz_does_not_hold(refused, tmp_path):
    file = tmp_path / "case0005_slice000.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": HUGE[:2]})
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("image", "label"):
            archive.writestr(f"{name}.npy", header.getvalue())
    assert "cannot be read as TransUNet's form" in refused(file)


def test_sizes_that_an_h5_does_not_hold(refused, tmp_path):
    """HDF5 fills up with zeros what was never written, at whatever size a file of 2 KB claims."""
    file = tmp_path / "case0001.npy.h5"
    with h5py.File(file, "w") as h5:
        for name in ("image", "label"):
            h5.create_dataset(name, shape=HUGE, dtype="f4", chunks=(1, 64, 64))
    assert file.stat().st_size < 10_000
    assert "cannot be read as TransUNet's form" in refused(file)


def test_more_voxels_than_any_volume_has(refused, tmp_path):
    h5_file, npz_file = tmp_path / "case0001.npy.h5", tmp_path / "case0005_slice000.npz"
    with h5py.File(h5_file, "w") as h5:
        for name in ("image", "label"):
            h5.create_dataset(name, shape=(1200, 512, 512), dtype="f4", chunks=(1, 64, 64))
    with zipfile.ZipFile(npz_file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as member:
        for _ in range(270):
            member.write(bytes(10**6))
    assert h5_file.stat().st_size < 10_000 and npz_file.stat().st_size < 300_000
    assert "it claims 314,572,800 voxels" in refused(h5_file)
    assert "it claims 270,000,000 voxels" in refused(npz_file)


def test_values_of_another_file(refused, tmp_path):
    secret, file = tmp_path / "secret", tmp_path / "case0001.npy.h5"
    secret.write_bytes(bytes(32))
    with h5py.File(file, "w") as h5:
        for name in ("image", "label"):
            h5.create_dataset(name, shape=(2, 4, 4), dtype="u1", external=[(str(secret), 0, 32)])
    assert "its values lie in another file" in refused(file)


@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink("/nowhere"), h5py.SoftLink("/label")],
    ids=["another file", "nowhere", "itself"],
)
def test_links_in_an_h5_lead_nowhere(link, refused, tmp_path):
    file = tmp_path / "case0001.npy.h5"
    with h5py.File(file, "w") as h5:
        h5["image"] = np.zeros((2, 4, 4), np.float32)
        h5["label"] = link
    assert "cannot be read as TransUNet's form" in refused(file)
