"""`nnunet-vmunet convert`: one subcommand per source."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError


def add(commands) -> None:
    parser = commands.add_parser("convert", help="turn a public release or loose photographs into nnU-Net input")
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for source, year in (("isic17", 2017), ("isic18", 2018)):
        _add_isic(sources, source, year)
    _add_synapse(sources)
    _add_images(sources)


def _add_isic(sources, source: str, year: int) -> None:
    parser = sources.add_parser(source, help=f"ISIC {year} lesion segmentation")
    parser.add_argument(
        "-i",
        dest="input",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder that holds the official release folders, or the authors' train/ and val/",
    )
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net dataset id")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--size", default="256", metavar="N", help="pixels a side (default 256), or native")
    parser.add_argument(
        "--split",
        choices=("auto", "cv"),
        default="auto",
        help="auto: the archive's split, else a seeded 7:3 split, as fold 0; cv: nnU-Net's own folds",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    parser.set_defaults(run=_isic, year=year)


def _isic(args) -> None:
    from ..dataset_conversion.isic import convert_isic

    convert_isic(
        args.input,
        args.dataset_id,
        args.year,
        size=_size(args.size),
        split=args.split,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _size(text: str) -> int | None:
    """Pixels a side, or None for the images' own size."""
    if text == "native":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--size {text}: give a number of pixels such as 256, or native")
    return int(text)


def _add_synapse(sources) -> None:
    parser = sources.add_parser("synapse", help="Synapse (BTCV), organs in abdominal CT")
    parser.add_argument(
        "-i",
        dest="input",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder that holds BTCV's RawData, or TransUNet's train_npz and test_vol_h5",
    )
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net dataset id")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument(
        "--organs",
        type=int,
        choices=(8, 13),
        default=8,
        help="8 in TransUNet's order (default), or all 13 of the raw form in BTCV's",
    )
    parser.add_argument("--partial", action="store_true", help="convert what is there of an incomplete copy")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    parser.set_defaults(run=_synapse)


def _synapse(args) -> None:
    from ..dataset_conversion.synapse import convert_synapse

    convert_synapse(
        args.input,
        args.dataset_id,
        organs=args.organs,
        partial=args.partial,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _add_images(sources) -> None:
    parser = sources.add_parser("images", help="photographs (JPEG, PNG, TIFF, BMP) into input for nnUNetv2_predict")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of photographs")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    parser.set_defaults(run=_images)


def _images(args) -> None:
    from ..dataset_conversion.images import convert_images

    convert_images(args.input, args.output, num_processes=args.num_processes, overwrite=args.overwrite)
