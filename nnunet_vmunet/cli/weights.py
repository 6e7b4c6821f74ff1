"""`nnunet-vmunet weights`: one subcommand per action."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError


def add(commands) -> None:
    parser = commands.add_parser("weights", help="pretrained VMamba weights and published VM-UNet checkpoints")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_download(actions)
    _add_import(actions)
    _add_show(actions)


def _add_download(actions) -> None:
    parser = actions.add_parser("download", help="fetch the official ImageNet-pretrained VMamba weights")
    parser.add_argument(
        "name", choices=("vmamba-s", "vmamba-t", "vmamba2-t"), help="vmamba-s is what the paper starts from"
    )
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FOLDER",
        help="folder to keep the file in (default: $NNUNET_VMUNET_CACHE, else the user's cache)",
    )
    parser.add_argument("--url", metavar="MIRROR", help="address of the file, or of its folder with a slash at the end")
    parser.set_defaults(run=_download)


def _download(args) -> None:
    from ..weights.download import download_weights

    download_weights(args.name, args.output, args.url)


def _add_import(actions) -> None:
    parser = actions.add_parser("import", help="make a file for nnUNetv2_train's -pretrained_weights, or a model")
    _add_file(parser)
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="file to write (not with --as-model)")
    network = parser.add_argument_group("the network to fill: a dataset's, or channels and classes by number")
    network.add_argument("--dataset", metavar="ID", help="nnU-Net dataset id or name")
    network.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    network.add_argument("--input-channels", type=int, metavar="N", help="of the images")
    network.add_argument("--num-classes", type=int, metavar="N", help="output channels, background included")
    network.add_argument(
        "--network",
        metavar="NAME",
        help="vmunet, vmunet-t, vmunet-s, vmamba2-unet, swin-umamba-d or mamba-unet (default: what the plans name, "
        "else vmunet)",
    )
    parser.add_argument(
        "--as-model",
        action="store_true",
        help="write a model folder that nnUNetv2_predict uses without any training; for checkpoints "
        "of the original networks",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what the file does not hold (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier import wrote")
    parser.set_defaults(run=_import)


def _import(args) -> None:
    from ..weights.importing import import_model, import_weights

    if (args.output is None) != args.as_model:
        raise InputError("give -o FILE to write weights for a training, or --as-model to write a model folder")
    how = {"ema": args.ema, "trust": args.trust, "overwrite": args.overwrite}
    if args.as_model:
        import_model(args.file, _target(args), **how)
    else:
        import_weights(args.file, args.output, _target(args), seed=args.seed, **how)


def _target(args):
    from ..weights.target import target_by_numbers, target_for_dataset

    numbers = (args.input_channels, args.num_classes)
    if args.dataset is not None and numbers == (None, None):
        return target_for_dataset(args.dataset, args.plans, args.network)
    if args.dataset is not None or None in numbers:
        raise InputError("give --dataset, or both --input-channels and --num-classes")
    return target_by_numbers(*numbers, args.network)


def _add_show(actions) -> None:
    parser = actions.add_parser("show", help="say what a weights file is, and whether and how it would load")
    _add_file(parser)
    parser.set_defaults(run=_show)


def _show(args) -> None:
    from ..weights.importing import show_weights

    show_weights(args.file, trust=args.trust, ema=args.ema)


def _add_file(parser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="checkpoint of VMamba, of VM-UNet, Swin-UMamba† or Mamba-UNet as published, or of nnUNetTrainerVMUNet",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="take the moving average, model_ema, of a VMamba file that also holds model (default: "
        "model, as the paper's authors)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="open a file that holds more than tensors and plain values: it can then run any code on this "
        "computer, so give it only for files whose makers you trust",
    )
