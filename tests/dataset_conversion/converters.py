"""Every converter behind one interface, for tests of what they share: a release, and the command that converts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from release_layouts import Pictures, Releases
from synapse_layouts import SynapseReleases

TINY = Pictures((12, 9))


@dataclass(frozen=True)
class Converter:
    """`lay_out(root, cases)` writes a release with about that many cases, the same for the same number."""

    name: str
    lay_out: Callable[[Path, int], None]
    options: tuple
    folder: str  # that it writes below $nnUNet_raw

    def command(self, root: Path, raw: Path, *options, num_processes: int = 1) -> list[str]:
        source, *others = self.options
        place = ["-o", raw / self.folder] if source == "images" else ["-d", 118]
        return list(map(str, ["convert", source, "-i", root, *place, "-np", num_processes, *others, *options]))


def _official(year: int) -> Callable[[Path, int], None]:
    return lambda root, cases: Releases(root).official(year, training=cases - 1, test=1, pictures=TINY)


def _archive(root: Path, cases: int) -> None:
    Releases(root).archive(train=cases - 1, val=1, pictures=TINY)


def _raw(root: Path, cases: int) -> None:
    SynapseReleases(root).raw([*range(1, 11), *range(21, 41)][:cases], shape=(3, 2, 2))


def _preprocessed(root: Path, cases: int) -> None:
    SynapseReleases(root).preprocessed({27: 3, 28: cases}, [1, 2], shape=(2, 3))


def _pairs(root: Path, cases: int) -> None:
    for part, numbers in (("train", range(cases - 1)), ("val", [cases - 1])):
        images, masks = root / part / "images", root / part / "masks"
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for number in numbers:
            TINY.save(f"polyp{number}", number, images, masks, ".jpg", "_mask.png")


def _photographs(root: Path, cases: int) -> None:
    for number in range(cases):
        TINY.photograph(number).save(root / f"IMG_{number:04d}.jpg")


CONVERTERS = {
    converter.name: converter
    for converter in (
        Converter("isic17", _official(2017), ("isic17", "--size", 8), "Dataset118_ISIC2017"),
        Converter("isic18", _official(2018), ("isic18", "--size", "native"), "Dataset118_ISIC2018"),
        Converter("isic18_archive", _archive, ("isic18", "--size", 8), "Dataset118_ISIC2018"),
        Converter("synapse_raw", _raw, ("synapse", "--partial"), "Dataset118_Synapse"),
        Converter("synapse_preprocessed", _preprocessed, ("synapse", "--partial"), "Dataset118_Synapse"),
        Converter("pairs", _pairs, ("pairs", "--name", "Polyps"), "Dataset118_Polyps"),
        Converter("images", _photographs, ("images",), "photographs"),
    )
}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and what is in it; a folder that is not there holds nothing."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
