"""`nnunet-vmunet convert`: one subcommand per source."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError


def add(commands) -> None:
    parser = commands.add_parser("convert", help="turn a public release or your own images into nnU-Net input")
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for source, year in (("isic17", 2017), ("isic18", 2018)):
        _add_isic(sources, source, year)
    _add_synapse(sources)
    _add_pairs(sources)
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
    _add_exif(parser)
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
        exif=args.exif,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _add_exif(parser) -> None:
    parser.add_argument(
        "--exif",
        choices=("apply", "ignore"),
        help="turn images as their EXIF orientation says, or not, where the size of a mask does not say it",
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


def _add_pairs(sources) -> None:
    parser = sources.add_parser("pairs", help="your own images and masks (JPEG, PNG, TIFF, BMP), in any folders")
    folders = parser.add_argument_group("where they are: -i, or --images and --masks")
    folders.add_argument(
        "-i",
        dest="input",
        type=Path,
        metavar="FOLDER",
        help="folder with images and masks in two folders, in train, val and test, or side by side (NAME, NAME_mask)",
    )
    folders.add_argument("--images", type=Path, metavar="FOLDER", help="the folder of images")
    folders.add_argument("--masks", type=Path, metavar="FOLDER", help="the folder of masks")
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net dataset id")
    parser.add_argument("--name", required=True, help="of the dataset, such as Polyps")
    parser.add_argument("--size", default="native", metavar="N", help="pixels a side, or native (default)")
    parser.add_argument(
        "--split",
        default="auto",
        metavar="auto|cv|FILE",
        help="auto: the folders' split, else a seeded 7:3 split, as fold 0; cv: five folds; or a file of validation "
        "names, one a line, or of folds as in splits_final.json",
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help=r"what names of one patient's images share, such as 'patient\d+': none is on both sides of a split",
    )
    masks = parser.add_argument_group("what the masks mean, where they are not black and white or 0, 1, 2, ...")
    masks.add_argument("--labels", metavar="NAME=VALUE,...", help="grey values, such as polyp=1,tool=2; or how many")
    masks.add_argument(
        "--colours", "--colors", metavar="NAME=#RRGGBB,...", help="colours, such as polyp=#ff0000,tool=#00ff00"
    )
    masks.add_argument(
        "--threshold",
        type=int,
        metavar="VALUE",
        help="take grey masks, this value and above as foreground, such as 128",
    )
    masks.add_argument("--ignore", metavar="VALUE", help="grey value or #colour of pixels to leave out of the training")
    _add_exif(parser)
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    parser.set_defaults(run=_pairs)


def _pairs(args) -> None:
    from ..dataset_conversion.mask_coding import MaskOptions
    from ..dataset_conversion.pairs import convert_pairs

    convert_pairs(
        _source(args),
        args.dataset_id,
        args.name,
        masks=MaskOptions(args.labels, args.colours, args.threshold, args.ignore),
        size=_size(args.size),
        split=args.split,
        group=args.group,
        exif=args.exif,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _source(args) -> Path | tuple[Path, Path]:
    given = args.input, args.images, args.masks
    if args.input and not args.images and not args.masks:
        return args.input
    if args.images and args.masks and not args.input:
        return args.images, args.masks
    raise InputError("give one folder as -i, or two as --images and --masks" if any(given) else "give a folder as -i")


def _add_images(sources) -> None:
    parser = sources.add_parser("images", help="photographs (JPEG, PNG, TIFF, BMP) into input for nnUNetv2_predict")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of photographs")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument(
        "-d",
        dest="dataset",
        metavar="ID",
        help="dataset whose model is to predict: write channels, depth and files as its training images have",
    )
    _add_exif(parser)
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    parser.set_defaults(run=_images)


def _images(args) -> None:
    from ..dataset_conversion.images import convert_images

    convert_images(
        args.input,
        args.output,
        dataset=args.dataset,
        exif=args.exif,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )
