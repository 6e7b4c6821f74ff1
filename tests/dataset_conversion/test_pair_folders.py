"""Folders as people have them: what is found in which, what is paired with what, and what is refused by name."""

import pytest

from nnunet_vmunet.dataset_conversion.pair_folders import pairs_below, pairs_of
from nnunet_vmunet.errors import InputError


@pytest.fixture
def lay_out(tmp_path):
    """Write empty files, which pairing does not open."""

    def lay_out(*paths: str):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return lay_out


def found(pairs, root) -> dict[str, list[tuple[str, str, str | None]]]:
    """Name, image and mask of the cases of each part that has some."""
    return {
        part: [
            (case.name, str(case.image.relative_to(root)), case.mask and str(case.mask.relative_to(root)))
            for case in cases
        ]
        for part, cases in pairs.parts.items()
        if cases
    }


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("imgs", "labels"),
        ("img", "mask"),
        ("Images", "Masks"),
        ("Original", "Ground Truth"),
        ("Original", "GroundTruth"),
        ("ORIGINAL", "ground_truth"),
        ("input", "gt"),
        ("JPEGImages", "SegmentationClass"),
        ("imagesTr", "labelsTr"),
        ("PNG/Original", "PNG/Ground Truth"),
        ("data/x/images", "data/x/segmentations"),
        (".", "masks"),
    ],
    ids=lambda folder: folder,
)
def test_two_folders(lay_out, images, masks):
    root = lay_out(f"{images}/a.jpg", f"{images}/b.jpg", f"{masks}/a.png", f"{masks}/b.png")
    pairs = pairs_below(root)
    (cases,) = (cases for cases in pairs.parts.values() if cases)
    assert [(case.name, case.image, case.mask) for case in cases] == [
        (name, root / images / f"{name}.jpg", root / masks / f"{name}.png") for name in "ab"
    ]
    (line,) = pairs.how
    assert f"images in {root / images}, masks in {root / masks}, 2 as NAME.jpg with NAME.png" in line


@pytest.mark.parametrize(
    ("image", "mask", "name"),
    [
        ("a.jpg", "a.png", "a"),
        ("a.jpg", "a_mask.png", "a"),
        ("a.jpg", "a_segmentation.png", "a"),
        ("a.jpg", "a_Segmentation.PNG", "a"),
        ("a.jpg", "a_seg.png", "a"),
        ("a.jpg", "a_gt.png", "a"),
        ("a.jpg", "a-label.png", "a"),
        ("a.bmp", "a_lesion.bmp", "a"),
        ("a.tif", "a_manual1.tif", "a"),
        ("a.jpg", "mask_a.png", "a"),
        ("image_a.jpg", "mask_a.png", "image_a"),
        ("a_image.jpg", "a_mask.png", "a_image"),
        ("a_0000.png", "a.png", "a"),
        ("IMG_0000.png", "IMG_0000.png", "IMG_0000"),
        ("IMG_0000.jpg", "IMG_0000_mask.png", "IMG_0000"),
        ("x (1).png", "x (1)_mask.png", "x (1)"),
        ("a.b.jpg", "a.b.png", "a.b"),
    ],
)
def test_names(lay_out, image, mask, name):
    root = lay_out(f"images/{image}", f"masks/{mask}")
    assert found(pairs_below(root), root) == {"": [(name, f"images/{image}", f"masks/{mask}")]}


@pytest.mark.parametrize("suffix", ["_mask", "_segmentation", "_seg", "_gt", "-label", "_lesion", "_anno", " mask"])
def test_side_by_side(lay_out, suffix):
    root = lay_out("a.jpg", f"a{suffix}.png", "b.jpg", f"b{suffix}.png", "notes.txt")
    pairs = pairs_below(root)
    assert found(pairs, root) == {"": [("a", "a.jpg", f"a{suffix}.png"), ("b", "b.jpg", f"b{suffix}.png")]}
    assert pairs.how == [f"Paired: side by side in {root}, 2 as NAME.jpg with NAME{suffix}.png"]


def test_side_by_side_in_a_folder_for_each_class(lay_out):
    """As ultrasound images of the breast are given out."""
    root = lay_out("benign/b (1).png", "benign/b (1)_mask.png", "malignant/m (1).png", "malignant/m (1)_mask.png")
    assert [name for name, *_ in found(pairs_below(root), root)[""]] == ["b (1)", "m (1)"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [("{}/images", "{}/masks"), ("images/{}", "masks/{}"), ("{}_images", "{}_masks"), ("{}", "{}_gt")],
    ids=["inside", "outside", "in_one_name", "images_without_a_word"],
)
@pytest.mark.parametrize(
    "words", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("Train", "valid", "ts")]
)
def test_parts(lay_out, images, masks, words):
    root = lay_out(
        *(f"{images.format(word)}/{word}{number}.png" for word in words for number in (1, 2)),
        *(f"{masks.format(word)}/{word}{number}_mask.png" for word in words for number in (1, 2)),
    )
    cases = found(pairs_below(root), root)
    assert {part: [name for name, *_ in cases] for part, cases in cases.items()} == {
        part: [f"{word}1", f"{word}2"] for part, word in zip(("train", "val", "test"), words, strict=True)
    }


def test_parts_with_masks_side_by_side(lay_out):
    root = lay_out("train/a.png", "train/a_mask.png", "val/b.png", "val/b_mask.png")
    assert {part: cases[0][0] for part, cases in found(pairs_below(root), root).items()} == {"train": "a", "val": "b"}


def test_images_to_test_on_may_have_no_masks(lay_out):
    root = lay_out("imagesTr/a_0000.png", "labelsTr/a.png", "imagesTs/c_0000.png")
    pairs = pairs_below(root)
    assert found(pairs, root)["test"] == [("c", "imagesTs/c_0000.png", None)]
    assert pairs.how[-1] == f"To test on: 1 images without masks in {root / 'imagesTs'}"


def test_the_two_folders_may_be_named(lay_out):
    root = lay_out("x/a.jpg", "y/a.png", "z/b.png")
    assert found(pairs_of(root / "x", root / "y"), root) == {"": [("a", "x/a.jpg", "y/a.png")]}


def test_several_patterns_are_counted(lay_out):
    root = lay_out("images/a.jpg", "images/b.png", "images/c.jpg", "masks/a.png", "masks/b_mask.png", "masks/c.png")
    assert pairs_below(root).how[0].endswith("2 as NAME.jpg with NAME.png and 1 as NAME.png with NAME_mask.png")


def test_what_is_no_picture_is_no_matter(lay_out):
    root = lay_out(
        "images/a.jpg", "images/._a.jpg", "images/table.csv", "masks/a.png", "__MACOSX/images/a.jpg", "a.txt"
    )
    assert len(found(pairs_below(root), root)[""]) == 1


REFUSED = {
    "image_alone": (
        ["images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/a.png"],
        r"2 images have no mask \(\S*images/b.jpg, \S*images/c.jpg\): give each its partner",
    ),
    "mask_alone": (["images/a.jpg", "masks/a.png", "masks/b.png"], r"1 masks have no image \(\S*masks/b.png\)"),
    "both_alone": (
        ["images/a.jpg", "images/b.jpg", "masks/a.png", "masks/B2.png"],
        r"1 images have no mask \(.*\) and 1 masks have no image",
    ),
    "beside_alone": (["a.jpg", "a_mask.png", "b_mask.png"], r"1 masks have no image \(\S*b_mask.png\)"),
    "two_masks": (["images/a.jpg", "masks/a.png", "masks/a_mask.png"], "a.png and .*a_mask.png are both masks of"),
    "two_images": (["images/a.jpg", "images/a.png", "masks/a.png"], "a.jpg and .*a.png are the same case"),
    "second_channel": (
        ["i/images/a_0000.png", "i/images/a_0001.png", "i/labels/a.png"],
        "1 images have no mask .*a_0001",
    ),
    "no_masks": (["images/a.jpg"], "images holds images, and neither a folder of masks nor masks beside them"),
    "no_images": (["masks/a.png"], "masks holds masks, and no folder of images belongs to it: give it as --images"),
    "two_folders_of_masks": (
        ["JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"],
        "holds masks, and no folder of images|give the two folders as --images and --masks",
    ),
    "two_folders_of_images": (["images/a.jpg", "Original/a.jpg", "masks/a.png"], "may both be meant"),
    "nothing": (["readme.txt"], "holds no images .* with masks"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_paired_is_refused_by_name(lay_out, name):
    paths, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        pairs_below(lay_out(*paths))


@pytest.mark.parametrize(("images", "masks", "option"), [("none", "y", "--images"), ("x", "empty", "--masks")])
def test_named_folders_without_pictures_are_refused(lay_out, images, masks, option):
    root = lay_out("x/a.jpg", "y/a.png", "empty/a.txt")
    with pytest.raises(InputError, match=f"{images if option == '--images' else masks} .*give another .*{option}"):
        pairs_of(root / images, root / masks)
