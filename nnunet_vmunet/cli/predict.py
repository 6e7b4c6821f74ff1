"""`nnunet-vmunet predict`."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError


def add(commands) -> None:
    parser = commands.add_parser("predict", help="masks of photographs or volumes, with a trained model")
    add_model(parser)
    parser.add_argument(
        "-i", dest="images", type=Path, required=True, metavar="INPUTS", help="a photograph, a volume, or a folder"
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="folder for the masks")
    parser.add_argument(
        "--values",
        type=int,
        metavar="N",
        help="of the highest label in the masks of photographs, such as 255 for masks that people can see",
    )
    parser.add_argument("--probabilities", action="store_true", help="write NAME.npz too, as nnU-Net does")
    parser.add_argument("--overlay", action="store_true", help="draw the contours over the images, in FOLDER/overlay")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--continue_prediction", action="store_true", help="predict the masks that are missing")
    again.add_argument("--overwrite", action="store_true", help="replace masks that are there")
    parser.set_defaults(run=_predict)


def add_model(parser) -> None:
    """Add the options that say which model is applied, and how; `app` has them too."""
    model = parser.add_argument_group("the model: -m, or -d of a trained one in nnUNet_results")
    model.add_argument(
        "-m", dest="model", type=Path, metavar="MODEL", help="folder that nnUNetv2_train wrote, or an exported zip"
    )
    model.add_argument("-d", dest="dataset", metavar="ID", help="nnU-Net dataset id or name")
    for option, name in (("-tr", "trainer"), ("-p", "plans"), ("-c", "configuration")):
        model.add_argument(option, dest=name, metavar=name.upper(), help="where there are several")
    model.add_argument("-f", dest="folds", nargs="+", metavar="FOLD", help="0 to 4, or all (default: those trained)")
    model.add_argument("-chk", dest="checkpoint", metavar="FILE", help="default checkpoint_final.pth")
    parser.add_argument("--fast", action="store_true", help="without mirroring, up to 4 times as fast")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), default="float32", help="of the network (default float32)"
    )
    parser.add_argument(
        "-device", metavar="DEVICE", choices=("cpu", "cuda", "mps"), help="default: cuda where there is a GPU"
    )


def _predict(args) -> int:
    model = chosen_model(args)
    from ..prediction.predict import Output, predict_folder

    output = Output(
        args.output,
        values=args.values,
        probabilities=args.probabilities,
        overlay=args.overlay,
        keep=args.continue_prediction,
        overwrite=args.overwrite,
    )
    return predict_folder(model, args.images, output)


def chosen_model(args):
    """The model that the options name, loaded."""
    from ..prediction.model_files import FINAL, Choice, model_files, trained_model

    if (args.model is None) == (args.dataset is None):
        raise InputError("give the model as -m, or a trained dataset as -d")
    choice = Choice(
        args.trainer,
        args.plans,
        args.configuration,
        None if args.folds is None else tuple(args.folds),
        args.checkpoint or FINAL,
    )
    with model_files(args.model or trained_model(args.dataset), choice) as files:
        import torch

        from ..prediction.model import Model, default_device

        device = torch.device(args.device) if args.device else default_device()
        return Model(files, device, mirror=not args.fast, precision=args.precision)
