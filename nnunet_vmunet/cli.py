"""The `nnunet-vmunet` command: each subcommand is a few lines around a public function."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import __version__
from .errors import InputError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand. Returns the exit code: 0, 2 for input that cannot be used, 1 for a check that fails."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"nnunet-vmunet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nnunet-vmunet", description="VM-UNet for stock nnU-Net.")
    parser.add_argument("--version", action="version", version=f"nnunet-vmunet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_register(commands)
    _add_convert(commands)
    _add_evaluate(commands)
    _add_weights(commands)
    _add_demo(commands)
    return parser


def _add_register(commands) -> None:
    parser = commands.add_parser("register", help="let the installed nnU-Net find VM-UNet")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="report, change nothing (exit code 1 if not registered)")
    what.add_argument("--remove", action="store_true", help="take everything away again")
    parser.set_defaults(run=_register)


def _register(args) -> int:
    from . import register

    if args.check:
        return 0 if register.check() else 1
    if args.remove:
        register.remove()
    else:
        register.register()
    return 0


def _add_convert(commands) -> None:
    parser = commands.add_parser("convert", help="turn a public release or loose photographs into nnU-Net input")
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for source, year in (("isic17", 2017), ("isic18", 2018)):
        _add_convert_isic(sources, source, year)
    _add_convert_synapse(sources)
    _add_convert_images(sources)


def _add_convert_isic(sources, source: str, year: int) -> None:
    parser = sources.add_parser(source, help=f"ISIC {year} lesion segmentation")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="folder that holds the official release folders, or the authors' train/ and val/")
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net dataset id")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--size", default="256", metavar="N", help="pixels a side (default 256), or native")
    parser.add_argument("--split", choices=("auto", "cv"), default="auto",
                        help="auto: the archive's split, else a seeded 7:3 split, as fold 0; cv: nnU-Net's own folds")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    parser.set_defaults(run=_convert_isic, year=year)


def _convert_isic(args) -> None:
    from .dataset_conversion.isic import convert_isic

    convert_isic(args.input, args.dataset_id, args.year, size=_size(args.size), split=args.split,
                 num_processes=args.num_processes, overwrite=args.overwrite)


def _size(text: str) -> int | None:
    """Pixels a side, or None for the images' own size."""
    if text == "native":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--size {text}: give a number of pixels such as 256, or native")
    return int(text)


def _add_convert_synapse(sources) -> None:
    parser = sources.add_parser("synapse", help="Synapse (BTCV), organs in abdominal CT")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="folder that holds BTCV's RawData, or TransUNet's train_npz and test_vol_h5")
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net dataset id")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--organs", type=int, choices=(8, 13), default=8,
                        help="8 in TransUNet's order (default), or all 13 of the raw form in BTCV's")
    parser.add_argument("--partial", action="store_true", help="convert what is there of an incomplete copy")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    parser.set_defaults(run=_convert_synapse)


def _convert_synapse(args) -> None:
    from .dataset_conversion.synapse import convert_synapse

    convert_synapse(args.input, args.dataset_id, organs=args.organs, partial=args.partial,
                    num_processes=args.num_processes, overwrite=args.overwrite)


def _add_convert_images(sources) -> None:
    parser = sources.add_parser("images", help="photographs (JPEG, PNG, TIFF, BMP) into input for nnUNetv2_predict")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of photographs")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("-np", dest="num_processes", type=int, default=8, metavar="N", help="processes (default 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    parser.set_defaults(run=_convert_images)


def _convert_images(args) -> None:
    from .dataset_conversion.images import convert_images

    convert_images(args.input, args.output, num_processes=args.num_processes, overwrite=args.overwrite)


def _add_evaluate(commands) -> None:
    parser = commands.add_parser("evaluate", help="the paper's metrics of predictions against references")
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    isic = tasks.add_parser("isic", help="lesion masks: IoU, Dice, accuracy, specificity, sensitivity")
    _add_evaluated_folders(isic)
    isic.add_argument("--native", action="store_true", help="compare at the images' own size instead of 256x256")
    isic.add_argument("--paper", choices=("isic17", "isic18"),
                      help="which of the paper's rows to print (default: as the dataset's name says)")
    isic.set_defaults(run=_evaluate_isic)
    synapse = tasks.add_parser("synapse", help="organs in volumes: Dice and HD95")
    _add_evaluated_folders(synapse)
    synapse.set_defaults(run=_evaluate_synapse)


def _add_evaluated_folders(parser) -> None:
    folders = parser.add_argument_group("two folders, paired by file name")
    folders.add_argument("-p", dest="predictions", type=Path, metavar="FOLDER", help="predictions")
    folders.add_argument("-r", dest="references", type=Path, metavar="FOLDER", help="references")
    folders.add_argument("--chill", action="store_true", help="leave out references that were not predicted")
    trained = parser.add_argument_group("or the validation of a trained fold")
    trained.add_argument("-d", dest="dataset", metavar="ID", help="nnU-Net dataset id or name")
    trained.add_argument("-f", dest="fold", metavar="FOLD", help="0 to 4, or all")
    trained.add_argument("-tr", dest="trainer", default="nnUNetTrainerVMUNet", metavar="TRAINER",
                         help="default nnUNetTrainerVMUNet")
    trained.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    trained.add_argument("-c", dest="configuration", default="2d", metavar="CONFIGURATION", help="default 2d")
    parser.add_argument("-o", dest="output", type=Path, metavar="FOLDER",
                        help="where metrics.json, metrics.csv and metrics.png go (default: PREDICTIONS/metrics)")
    parser.add_argument("-np", dest="num_processes", type=int, metavar="N",
                        help="processes (default: nnU-Net's, 8, but at most one per core)")


def _evaluated_folders(args):
    from .evaluation.folders import given_folders, trained_fold

    given = {option for option, value in (("-p", args.predictions), ("-r", args.references), ("-d", args.dataset),
                                          ("-f", args.fold)) if value is not None}  # fmt: skip
    if given == {"-p", "-r"}:
        return given_folders(args.predictions, args.references, chill=args.chill)
    if given == {"-d", "-f"}:
        return trained_fold(args.dataset, args.fold, args.trainer, args.plans, args.configuration)
    raise InputError("give the two folders as -p and -r, or a trained fold as -d and -f")


def _evaluate_isic(args) -> None:
    from .evaluation.isic_report import evaluate_isic

    evaluate_isic(_evaluated_folders(args), args.output, native=args.native, paper_row=args.paper,
                  num_processes=args.num_processes)


def _evaluate_synapse(args) -> None:
    from .evaluation.synapse_report import evaluate_synapse

    evaluate_synapse(_evaluated_folders(args), args.output, num_processes=args.num_processes)


def _add_weights(commands) -> None:
    parser = commands.add_parser("weights", help="pretrained VMamba weights and published VM-UNet checkpoints")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_weights_download(actions)
    _add_weights_import(actions)
    _add_weights_show(actions)


def _add_weights_download(actions) -> None:
    parser = actions.add_parser("download", help="fetch the official ImageNet-pretrained VMamba weights")
    parser.add_argument("name", choices=("vmamba-s", "vmamba-t"), help="vmamba-s is what the paper starts from")
    parser.add_argument("-o", dest="output", type=Path, metavar="FOLDER",
                        help="folder to keep the file in (default: $NNUNET_VMUNET_CACHE, else the user's cache)")
    parser.add_argument("--url", metavar="MIRROR", help="address of the file, or of its folder with a slash at the end")
    parser.set_defaults(run=_weights_download)


def _weights_download(args) -> None:
    from .weights.download import download_weights

    download_weights(args.name, args.output, args.url)


def _add_weights_import(actions) -> None:
    parser = actions.add_parser("import", help="make a file for nnUNetv2_train's -pretrained_weights, or a model")
    _add_weights_file(parser)
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="file to write (not with --as-model)")
    network = parser.add_argument_group("the network to fill: a dataset's, or channels and classes by number")
    network.add_argument("--dataset", metavar="ID", help="nnU-Net dataset id or name")
    network.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    network.add_argument("--input-channels", type=int, metavar="N", help="of the images")
    network.add_argument("--num-classes", type=int, metavar="N", help="output channels, background included")
    parser.add_argument("--as-model", action="store_true",
                        help="write a model folder that nnUNetv2_predict uses without any training; for checkpoints "
                             "of the original VM-UNet")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what the file does not hold (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier import wrote")
    parser.set_defaults(run=_weights_import)


def _weights_import(args) -> None:
    from .weights.importing import import_model, import_weights

    if (args.output is None) != args.as_model:
        raise InputError("give -o FILE to write weights for a training, or --as-model to write a model folder")
    how = {"ema": args.ema, "trust": args.trust, "overwrite": args.overwrite}
    if args.as_model:
        import_model(args.file, _weights_target(args), **how)
    else:
        import_weights(args.file, args.output, _weights_target(args), seed=args.seed, **how)


def _weights_target(args):
    from .weights.target import Target, target_for_dataset

    numbers = (args.input_channels, args.num_classes)
    if args.dataset is not None and numbers == (None, None):
        return target_for_dataset(args.dataset, args.plans)
    if args.dataset is not None or None in numbers:
        raise InputError("give --dataset, or both --input-channels and --num-classes")
    if min(numbers) < 1:
        raise InputError(f"--input-channels {numbers[0]} --num-classes {numbers[1]}: give numbers from 1")
    return Target(*numbers)


def _add_weights_show(actions) -> None:
    parser = actions.add_parser("show", help="say what a weights file is, and whether and how it would load")
    _add_weights_file(parser)
    parser.set_defaults(run=_weights_show)


def _weights_show(args) -> None:
    from .weights.show import show_weights

    show_weights(args.file, trust=args.trust, ema=args.ema)


def _add_weights_file(parser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE",
                        help="checkpoint of VMamba v0, of the original VM-UNet, or of nnUNetTrainerVMUNet")
    parser.add_argument("--ema", action="store_true",
                        help="take the moving average, model_ema, of a VMamba file that also holds model (default: "
                             "model, as the paper's authors)")
    parser.add_argument("--trust", action="store_true",
                        help="open a file that holds more than tensors, as nnU-Net's checkpoints do: it can then run "
                             "any code on this computer, so give it only for files whose makers you trust")


def _add_demo(commands) -> None:
    parser = commands.add_parser("demo", help="the whole job, from release folder to masks, on generated images")
    parser.add_argument("-o", dest="output", type=Path, default=Path("demo"), metavar="FOLDER",
                        help="folder to work in (default ./demo)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    parser.set_defaults(run=_demo)


def _demo(args) -> None:
    from .demo import demo

    demo(args.output, overwrite=args.overwrite)
