"""Synapse from BTCV's own NIfTI files: nothing but the label values changes."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from synapse_layouts import AFFINE

# The table that TransUNet published, raw value to new value.
EIGHT = {8: 1, 4: 2, 3: 3, 2: 4, 6: 5, 11: 6, 1: 7, 7: 8}


@pytest.fixture
def convert(convert_synapse):
    return lambda *options: convert_synapse("--partial", *options)


@pytest.fixture
def refuse(refuse_synapse):
    return lambda *options: refuse_synapse("--partial", *options)


def volume(file) -> nib.Nifti1Image:
    return nib.load(file)


def voxels(file) -> np.ndarray:
    return np.asanyarray(volume(file).dataobj)


def test_real_ct(shared, convert, synapse):
    source = shared / "data" / "abdomen_ct"
    for file in (synapse.image(1), synapse.label(1)):
        file.parent.mkdir(parents=True)
        shutil.copy(source / file.name, file)
    dataset = convert()
    image, label = dataset / "imagesTr/case0001_0000.nii.gz", dataset / "labelsTr/case0001.nii.gz"
    assert image.read_bytes() == (source / "img0001.nii.gz").read_bytes()
    before, after = voxels(source / "label0001.nii.gz"), voxels(label)
    for old, new in EIGHT.items():
        assert np.count_nonzero(before == old) > 0
        np.testing.assert_array_equal(after == new, before == old)
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(volume(label).affine, volume(source / "label0001.nii.gz").affine)
    np.testing.assert_array_equal(volume(label).affine, volume(image).affine)


def test_eight_organs_in_transunets_order(convert, synapse):
    synapse.raw([1])
    before, after = voxels(synapse.label(1)), voxels(convert() / "labelsTr/case0001.nii.gz")
    np.testing.assert_array_equal(after, np.vectorize(lambda value: EIGHT.get(value, 0))(before))


def test_thirteen_organs_keep_their_values(convert_synapse, synapse):
    synapse.raw([1])
    dataset = convert_synapse("--partial", "--organs", 13)
    np.testing.assert_array_equal(voxels(dataset / "labelsTr/case0001.nii.gz"), voxels(synapse.label(1)))
    labels = json.loads((dataset / "dataset.json").read_text())["labels"]
    assert list(labels.values()) == list(range(14))
    assert (labels["spleen"], labels["oesophagus"], labels["left adrenal gland"]) == (1, 5, 13)
    assert "1 cases, 13 organs" in convert_synapse.out


def test_the_header_of_the_label_map_is_kept(convert, synapse):
    oblique = AFFINE @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    synapse.raw([1])
    synapse.save(synapse.image(1), voxels(synapse.image(1)), oblique)
    stored = nib.Nifti1Image(voxels(synapse.label(1)).astype(np.int16), oblique)
    stored.header.set_xyzt_units("mm")
    stored.header["descrip"] = b"manual segmentation"
    stored.header["cal_max"] = 13
    stored.set_qform(oblique, code=1)
    stored.set_sform(oblique, code=2)
    nib.save(stored, synapse.label(1))
    before, after = volume(synapse.label(1)).header, volume(convert() / "labelsTr/case0001.nii.gz").header
    changed = {key for key in before if before[key].tobytes() != after[key].tobytes()}
    assert changed == {"datatype", "bitpix", "cal_max"}
    assert after.get_data_dtype() == np.uint8


TURN = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])

GEOMETRIES = {
    "as_released": (AFFINE, AFFINE),
    "flipped": (AFFINE @ np.diag([-1, 1, -1, 1]),) * 2,
    "permuted": (AFFINE[:, [2, 0, 1, 3]],) * 2,
    "oblique": (AFFINE @ TURN, AFFINE @ TURN),
    "sform_and_qform_differ": (AFFINE @ TURN, AFFINE),
    "left_handed_and_far_away": (np.array([[2, 0, 0, -1e4], [0, 0, 3, 1e4], [0, 0.5, 0, 7], [0, 0, 0, 1.0]]),) * 2,
}


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_geometry_is_kept_to_the_byte(convert, synapse, geometry):
    synapse.raw([1])
    sform, qform = GEOMETRIES[geometry]
    for file, dtype in ((synapse.image(1), np.int16), (synapse.label(1), np.uint8)):
        stored = nib.Nifti1Image(voxels(file).astype(dtype), sform)
        stored.set_sform(sform, code=1)
        stored.set_qform(qform, code=1)
        nib.save(stored, file)
    dataset = convert()
    image, label = dataset / "imagesTr/case0001_0000.nii.gz", dataset / "labelsTr/case0001.nii.gz"
    assert image.read_bytes() == synapse.image(1).read_bytes()
    before, after = volume(synapse.label(1)).header, volume(label).header
    for field in (
        "pixdim",
        "qform_code",
        "sform_code",
        "qoffset_x",
        "quatern_b",
        "quatern_c",
        "srow_x",
        "srow_y",
        "srow_z",
        "dim",
        "xyzt_units",
    ):
        assert before[field].tobytes() == after[field].tobytes(), field
    read_image, read_label = (sitk.ReadImage(file) for file in (image, label))  # as nnU-Net does
    assert read_image.GetDirection() == read_label.GetDirection()
    assert read_image.GetOrigin() == read_label.GetOrigin()
    assert read_image.GetSpacing() == read_label.GetSpacing()


@pytest.mark.parametrize("dtype", ["<u1", "<i2", ">i2", ">i4", "<f4", ">f8"])
def test_label_maps_of_every_type(convert, synapse, dtype):
    synapse.raw([1])
    before = voxels(synapse.label(1))
    header = nib.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(before.astype(dtype), AFFINE, header), synapse.label(1))
    after = voxels(convert() / "labelsTr/case0001.nii.gz")
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(after == 5, before == 6)


def test_a_big_endian_image_with_a_scale_is_kept_to_the_byte(convert, synapse):
    synapse.raw([1])
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(voxels(synapse.image(1)).astype(">i2"), AFFINE, header), synapse.image(1))
    content = bytearray(gzip.decompress(synapse.image(1).read_bytes()))
    content[112:120] = np.array([0.5, -100], ">f4").tobytes()  # scl_slope and scl_inter
    synapse.image(1).write_bytes(gzip.compress(content))
    before = volume(synapse.image(1)).get_fdata()
    written = convert() / "imagesTr/case0001_0000.nii.gz"
    assert written.read_bytes() == synapse.image(1).read_bytes()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(written)).T, before)


@pytest.mark.parametrize("file", ["image", "label"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain_named_gz", "gz_named_plain"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(refuse, synapse, file, compressed):
    synapse.raw([1])
    stored = getattr(synapse, file)(1)
    content = stored.read_bytes()
    stored.unlink()
    name = stored.with_suffix("") if compressed else stored
    name.write_bytes(content if compressed else gzip.decompress(content))
    assert f"{name.name} cannot be read as a volume, copy or download it again" in refuse()


def test_a_header_that_claims_too_many_voxels_is_refused(refuse, synapse):
    synapse.raw([1])
    for file in (synapse.image(1), synapse.label(1)):
        with_header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])(synapse, file)
    assert "img0001.nii.gz cannot be read as a volume" in refuse()


def test_nothing_but_the_error_is_printed(refuse, synapse):
    """nibabel logs what it repairs in a header."""
    synapse.raw([1])
    with_header(sizeof_hdr=349, magic=b"n+9")(synapse, synapse.image(1))
    assert "img0001.nii.gz cannot be read as a volume" in refuse()


@pytest.mark.parametrize("file", ["image", "label"])
def test_uncompressed_files_come_out_compressed(convert, synapse, file):
    synapse.raw([1])
    stored = getattr(synapse, file)(1)
    content = gzip.decompress(stored.read_bytes())
    stored.unlink()
    stored.with_suffix("").write_bytes(content)
    dataset = convert()
    if file == "image":
        assert gzip.decompress((dataset / "imagesTr/case0001_0000.nii.gz").read_bytes()) == content
    assert voxels(dataset / "labelsTr/case0001.nii.gz").max() == 8


def test_the_dataset_survives_the_release(convert, synapse):
    synapse.raw([1])
    dataset = convert()
    shutil.rmtree(synapse.root)
    assert voxels(dataset / "imagesTr/case0001_0000.nii.gz").shape == (6, 5, 4)


@pytest.mark.parametrize("place", [".", "RawData", "Abdomen/RawData/Training", "RawData/RawData/Training"], ids=str)
def test_wherever_the_two_folders_lie(convert, synapse, place):
    synapse.raw([1])
    wrapped = synapse.root.parent / "moved" / place
    wrapped.parent.mkdir(parents=True, exist_ok=True)
    synapse.training.rename(wrapped)
    (synapse.root / "RawData").rmdir()
    (synapse.root.parent / "moved").rename(synapse.root / "moved")
    assert voxels(convert() / "labelsTr/case0001.nii.gz").max() == 8


@pytest.mark.parametrize("name", ["img", "label"])
def test_mirrors_that_nest_a_folder_inside_itself(convert, synapse, name):
    synapse.raw([1])
    folder = synapse.training / name
    folder.rename(folder.with_name("moving"))
    folder.mkdir()
    folder.with_name("moving").rename(folder / name)
    convert()


def test_the_testing_folder_and_hidden_files_are_left_alone(convert, synapse):
    synapse.raw([1])
    shutil.copytree(synapse.training / "img", synapse.root / "RawData" / "Testing" / "img")
    (synapse.training / "img" / "._img0001.nii.gz").touch()
    (synapse.training / "img" / "notes.txt").touch()
    assert len(list((convert() / "imagesTr").iterdir())) == 1


def test_labels_may_be_floating_point_if_whole(convert, synapse):
    synapse.raw([1])
    before = voxels(synapse.label(1))
    synapse.save(synapse.label(1), before.astype(np.float64))
    after = voxels(convert() / "labelsTr/case0001.nii.gz")
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(after == 5, before == 6)


def with_header(**fields):
    """A change of header fields as they stand in the file, sensible or not."""

    def change(synapse, file):
        content = gzip.decompress(file.read_bytes())
        header = nib.Nifti1Header(content[:348], check=False)
        for field, value in fields.items():
            header[field] = value
        file.write_bytes(gzip.compress(header.binaryblock + content[348:]))

    return change


def test_a_scale_in_the_header_counts(convert, synapse):
    synapse.raw([1])
    before = voxels(synapse.label(1))
    synapse.save(synapse.label(1), before * np.uint8(2))
    with_header(scl_slope=0.5, scl_inter=0)(synapse, synapse.label(1))
    np.testing.assert_array_equal(voxels(synapse.label(1)), before)
    np.testing.assert_array_equal(voxels(convert() / "labelsTr/case0001.nii.gz") == 5, before == 6)


def test_rounding_in_a_header_is_no_difference(convert, synapse):
    synapse.raw([1])
    synapse.save(synapse.label(1), voxels(synapse.label(1)), AFFINE + 1e-5)
    convert()


def test_an_unpublished_number_of_slices_is_told(convert_synapse, synapse):
    synapse.raw([1, 5])
    convert_synapse("--partial")
    assert "Note: case0005 has 4 slices, published are 117\n" in convert_synapse.out


def spoiled(change):
    """A change of the stored voxels of one file."""

    def spoil(synapse, file):
        values = voxels(file).astype(np.float32)
        synapse.save(file, change(values))

    return spoil


def with_value(value):
    def change(values):
        values[1, 2, 3] = value
        return values

    return spoiled(change)


def cut(amount):
    return lambda synapse, file: file.write_bytes(file.read_bytes()[:-amount])


def moved(millimetres):
    affine = AFFINE.copy()
    affine[2, 3] += millimetres
    return lambda synapse, file: synapse.save(file, voxels(file), affine)


# What may be wrong with case 2 of an otherwise good release: the file, what spoils it, what the one line must say.
SPOILED = {
    "label_too_high": ("label", with_value(14), ["label0002.nii.gz holds labels from 0.0 to 14.0, not 0 to 13"]),
    "label_255": ("label", with_value(255), ["label0002.nii.gz holds labels from 0.0 to 255.0, not 0 to 13"]),
    "label_negative": ("label", with_value(-1), ["label0002.nii.gz holds labels from -1.0 to 13.0"]),
    "label_fraction": ("label", with_value(0.5), ["label0002.nii.gz holds 1 labels that are no whole numbers"]),
    "label_nan": ("label", with_value(np.nan), ["label0002.nii.gz holds labels from nan to nan"]),
    "image_nan": ("image", with_value(np.nan), ["img0002.nii.gz holds 1 voxels that are NaN or infinite"]),
    "image_infinite": ("image", with_value(np.inf), ["img0002.nii.gz holds 1 voxels that are NaN or infinite"]),
    "label_other_shape": (
        "label",
        spoiled(lambda values: values[:-1]),
        ["label0002.nii.gz has 5x5x4 voxels,", "img0002.nii.gz 6x5x4: download both again"],
    ),
    "label_moved": ("label", moved(0.1), ["label0002.nii.gz lies up to 0.1 mm beside", "img0002.nii.gz"]),
    "image_4d": (
        "image",
        spoiled(lambda values: values[..., None].repeat(2, axis=3)),
        ["img0002.nii.gz is not a volume of grey values: its shape is 6x5x4x2,"],
    ),
    "image_4d_with_one_frame": (
        "image",
        spoiled(lambda values: values[..., None]),
        ["img0002.nii.gz cannot be read as a volume, copy or download it again (its shape is 6x5x4x1,"],
    ),
    "image_2d": (
        "image",
        spoiled(lambda values: values[..., 0]),
        ["img0002.nii.gz is not a volume of grey values: its shape is 6x5,"],
    ),
    "image_without_extent": (
        "image",
        with_header(srow_x=[0, 0, 0, 0]),
        ["img0002.nii.gz has a header without a usable affine"],
    ),
    "image_in_colour": (
        "image",
        lambda synapse, file: synapse.save(file, np.zeros((6, 5, 4), [(c, np.uint8) for c in "RGB"])),
        ["img0002.nii.gz is not a volume of grey values: it has 3 values per voxel"],
    ),
    "image_empty_file": ("image", lambda synapse, file: file.write_bytes(b""), ["img0002.nii.gz cannot be read"]),
    "image_cut_in_the_middle": ("image", cut(100), ["img0002.nii.gz cannot be read as a volume, copy or download"]),
    "image_without_its_last_byte": ("image", cut(1), ["img0002.nii.gz cannot be read as a volume"]),
    "label_without_its_last_byte": ("label", cut(1), ["label0002.nii.gz cannot be read as a volume"]),
    "image_is_a_web_page": (
        "image",
        lambda synapse, file: file.write_text("<html>404</html>"),
        ["img0002.nii.gz cannot be read as a volume"],
    ),
    "image_missing": (
        "image",
        lambda synapse, file: file.unlink(),
        ["label0002.nii.gz has no image in", "img: download the release again, or remove what has no partner"],
    ),
    "label_missing": ("label", lambda synapse, file: file.unlink(), ["img0002.nii.gz has no label map in"]),
    "image_twice": (
        "image",
        lambda synapse, file: file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes())),
        ["img0002.nii and", "img0002.nii.gz are the same case: remove one of them"],
    ),
    "no_label_folder": ("label", lambda synapse, file: shutil.rmtree(file.parent), ["lacks Training/label, though"]),
    "no_image_folder": ("image", lambda synapse, file: shutil.rmtree(file.parent), ["lacks Training/img", "label is"]),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_bad_releases_are_refused(refuse, synapse, spoil):
    synapse.raw([1, 2, 5])
    file, change, expected = SPOILED[spoil]
    change(synapse, getattr(synapse, file)(2))
    message = refuse()
    for words in expected:
        assert words in message


def test_a_cut_uncompressed_file_is_refused(refuse, synapse):
    synapse.raw([1])
    plain = synapse.image(1).with_suffix("")
    plain.write_bytes(gzip.decompress(synapse.image(1).read_bytes())[:-1])
    synapse.image(1).unlink()
    assert "img0001.nii cannot be read as a volume" in refuse()


def test_two_copies_of_a_folder_are_refused(refuse, synapse):
    synapse.raw([1])
    shutil.copytree(synapse.training / "img", synapse.root / "copy" / "img")
    assert "are the same part of the release: remove one of them" in refuse()
