"""Images and masks in folders that nobody agreed upon: which folder holds what, and which mask is of which image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..files.listing import by_case
from ..files.photographs import SUFFIXES, photographs_in
from .picture_dataset import Case
from .release_folders import folders_in

# How deep below -i the folders may lie.
_DEPTH = 4

# What folders' names say, in lower case.
_IMAGE_WORDS = {
    "image",
    "images",
    "img",
    "imgs",
    "input",
    "inputs",
    "original",
    "originals",
    "photo",
    "photos",
    "pictures",
}
_MASK_WORDS = {
    *("annotation", "annotations", "groundtruth", "groundtruths", "gt", "gts", "label", "labels", "mask", "masks"),
    *("seg", "segmentation", "segmentations"),
}
# The parts of a dataset by the words that folders are named with; nnU-Net writes imagesTr and imagesTs.
_PARTS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "ts"), "test"),
}
PARTS = ("", "train", "val", "test")  # "" where the folders name none

# What file names carry besides the case's name.
_MASK_NAME = "|".join(
    ("annotation", "anno", "ground[ _-]?truth", "gt", "labels?", "lesion", "manual1?", "masks?", "segmentation", "seg")
)
_MASK_SUFFIX = re.compile(rf"[ ._-]+(?:{_MASK_NAME})$", re.IGNORECASE)
_MASK_PREFIX = re.compile(rf"^(?:{_MASK_NAME})[ ._-]+", re.IGNORECASE)
_IMAGE_ROLE = re.compile(
    r"[ ._-]+(?:images?|img|original|photo)$|^(?:images?|img|original|photo)[ ._-]+", re.IGNORECASE
)
_FIRST_CHANNEL = "_0000"  # nnU-Net's mark of the first image file of a case, whose mask has none


@dataclass
class Pairs:
    """The cases of each part, and how they were paired, for people."""

    parts: dict[str, list[Case]] = field(default_factory=lambda: {part: [] for part in PARTS})
    how: list[str] = field(default_factory=list)

    def add(self, part: str, images: list[Path], masks: list[Path], beside: str) -> None:
        """Pair the files by name."""
        cases, patterns = pair_by_name(images, masks)
        self.parts[part] += cases
        named = " and ".join(f"{count} as {pattern}" for pattern, count in patterns.most_common())
        self.how.append(f"Paired{f' for {part}' if part else ''}: {beside}, {named}")


def pairs_below(folder: Path) -> Pairs:
    """Find images and masks in or below `folder`; nothing is opened.

    Raises:
        InputError: there are none, or they cannot be told apart or paired.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is no folder: give the one that holds images and masks as -i")
    pairs, groups = Pairs(), _grouped(folder)
    for (part, _), group in sorted(groups.items(), key=lambda item: (PARTS.index(item[0][0]), item[0])):
        _add_group(pairs, part, group, folder)
    if not any(pairs.parts.values()):
        raise InputError(
            f"{folder} holds no images ({', '.join(SUFFIXES)}) with masks, in two folders such as images and masks, or "
            "side by side as NAME and NAME_mask: give the two folders as --images and --masks"
        )
    return pairs


def pairs_of(images: Path, masks: Path) -> Pairs:
    """The pairs of two folders that the user gave.

    Raises:
        InputError: a folder holds no pictures, or they cannot be paired.
    """
    pairs = Pairs()
    for option, folder in (("--images", images), ("--masks", masks)):
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is no folder: give another one as {option}")
        if not photographs_in(folder):
            raise InputError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}): give another folder as {option}")
    if images.resolve() == masks.resolve():
        raise InputError(f"{images} is given as --images and as --masks: give a folder that holds both as -i")
    pairs.add("", photographs_in(images), photographs_in(masks), f"images in {images}, masks in {masks}")
    return pairs


def pair_by_name(images: Sequence[Path], masks: Sequence[Path]) -> tuple[list[Case], Counter[str]]:
    """One case per image, named as the image; and how often which pattern of names was met.

    Raises:
        InputError: an image without a mask, a mask without an image, or two for one.
    """
    of_masks = {name for mask in masks for name in (mask.stem, _without_role(mask.stem))}
    exact = by_case((_case_name(image, of_masks), image) for image in images)
    loose: dict[str, list[str]] = {}
    for case_name in exact:
        loose.setdefault(_IMAGE_ROLE.sub("", case_name).lower(), []).append(case_name)
    found: dict[str, Path] = {}
    without_image = []
    for mask in masks:
        name = _image_of(mask.stem, exact, loose)
        if name is None:
            without_image.append(mask)
            continue
        if name in found:
            raise InputError(f"{found[name]} and {mask} are both masks of {exact[name]}: remove one of them")
        found[name] = mask
    _refuse_unpaired([image for name, image in exact.items() if name not in found], without_image)
    patterns = Counter(_pattern(name, exact[name], mask) for name, mask in found.items())
    return [Case(name, image, found[name]) for name, image in exact.items()], patterns


@dataclass
class _Group:
    """Folders that belong together: their paths are the same but for what says images or masks."""

    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)


def _grouped(root: Path) -> dict[tuple[str, tuple[str, ...]], _Group]:
    """Groups by part and by what else their paths say."""
    groups: dict[tuple[str, tuple[str, ...]], _Group] = {}
    for folder in folders_in(root, _DEPTH):
        if not photographs_in(folder):
            continue
        words = [_words(component) for component in folder.relative_to(root).parts]
        role_words = next((w for w in reversed(words) if w & (_IMAGE_WORDS | _MASK_WORDS)), frozenset())
        part = next((_PARTS[word] for component in reversed(words) for word in component if word in _PARTS), "")
        rest = (" ".join(sorted(w - _IMAGE_WORDS - _MASK_WORDS if w is role_words else w)) for w in words)
        group = groups.setdefault((part, tuple(filter(None, rest))), _Group())
        (group.masks if role_words & _MASK_WORDS else group.images).append(folder)
    return _with_their_only_masks(groups)


def _words(name: str) -> frozenset[str]:
    """Of a folder's name, in lower case: GroundTruth, "Ground Truth" and ground_truth are one."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    return frozenset(" ".join(words).replace("ground truth", "groundtruth").split())


def _with_their_only_masks(groups: dict[tuple[str, tuple[str, ...]], _Group]):
    """Where a part has one folder of images and one of masks, they belong together whatever they are called."""
    for part in PARTS:
        of_part = {key: group for key, group in groups.items() if key[0] == part}
        alone = [key for key, group in of_part.items() if group.images and not group.masks]
        masks = [key for key, group in of_part.items() if group.masks and not group.images]
        if len(alone) == len(masks) == 1:
            groups[alone[0]].masks = groups.pop(masks[0]).masks
    return groups


def _add_group(pairs: Pairs, part: str, group: _Group, root: Path) -> None:
    for folders in (group.images, group.masks):
        if len(folders) > 1:
            raise InputError(
                f"{folders[0]} and {folders[1]} may both be meant: give the two folders as --images and --masks"
            )
    if not group.images:
        raise InputError(f"{group.masks[0]} holds masks, and no folder of images belongs to it: give it as --images")
    (images,) = group.images
    files = photographs_in(images)
    if group.masks:
        pairs.add(part, files, photographs_in(group.masks[0]), f"images in {images}, masks in {group.masks[0]}")
        return
    masks = _masks_among(files)
    if masks:
        pairs.add(part, [file for file in files if file not in masks], sorted(masks), f"side by side in {images}")
    elif part == "test":
        pairs.parts[part] += [
            Case(name, file, None) for name, file in by_case((_case_name(f), f) for f in files).items()
        ]
        pairs.how.append(f"To test on: {len(files)} images without masks in {images}")
    else:
        raise InputError(
            f"{images} holds images, and neither a folder of masks nor masks beside them are there: give the two "
            "folders as --images and --masks"
        )


def _masks_among(files: Sequence[Path]) -> set[Path]:
    """The masks that lie beside their images: those named as masks, where at least one has its image there."""
    named = {file for file in files if _MASK_SUFFIX.search(file.stem) or _MASK_PREFIX.search(file.stem)}
    others = {_IMAGE_ROLE.sub("", _case_name(file)).lower() for file in files if file not in named}
    return named if any(_without_role(file.stem).lower() in others for file in named) else set()


def _without_role(mask_stem: str) -> str:
    return _MASK_PREFIX.sub("", _MASK_SUFFIX.sub("", mask_stem))


def _image_of(mask_stem: str, exact: dict[str, Path], loose: dict[str, list[str]]) -> str | None:
    """The name of the image that a mask belongs to: the same, or the same but for the words for image and mask."""
    for name in (mask_stem, _MASK_SUFFIX.sub("", mask_stem), _without_role(mask_stem)):
        if name in exact:
            return name
    candidates = loose.get(_without_role(mask_stem).lower(), [])
    return candidates[0] if len(candidates) == 1 else None


def _case_name(image: Path, taken_whole: Collection[str] = ()) -> str:
    """Without nnU-Net's mark, but for a name that is taken as a whole, such as IMG_0000 of a camera."""
    return image.stem if image.stem in taken_whole else image.stem.removesuffix(_FIRST_CHANNEL) or image.stem


def _pattern(name: str, image: Path, mask: Path) -> str:
    core = _IMAGE_ROLE.sub("", name)
    return f"{image.name.replace(core, 'NAME', 1)} with {_replaced(mask.name, core)}"


def _replaced(file_name: str, core: str) -> str:
    return re.sub(re.escape(core), "NAME", file_name, count=1, flags=re.IGNORECASE)


def _refuse_unpaired(images: Sequence[Path], masks: Sequence[Path]) -> None:
    lacks = [
        f"{len(files)} {what} ({', '.join(str(file) for file in files[:3])}{', ...' if len(files) > 3 else ''})"
        for files, what in ((images, "images have no mask"), (masks, "masks have no image"))
        if files
    ]
    if lacks:
        raise InputError(f"{' and '.join(lacks)}: give each its partner of the same name, or remove it")
