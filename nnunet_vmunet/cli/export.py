"""`nnunet-vmunet export`: one subcommand per format."""

from __future__ import annotations

from pathlib import Path


def add(commands) -> None:
    parser = commands.add_parser("export", help="a trained model for programs without torch")
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    onnx = formats.add_parser("onnx", help="the network as an ONNX file, and what to do around it as JSON")
    onnx.add_argument("model", type=Path, metavar="MODEL", help="folder that nnUNetv2_train wrote, or an exported zip")
    onnx.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="such as model.onnx")
    onnx.add_argument("-f", dest="fold", metavar="FOLD", help="0 to 4, or all, where the model has several")
    onnx.add_argument("-chk", dest="checkpoint", metavar="FILE", help="default checkpoint_final.pth")
    onnx.add_argument("--overwrite", action="store_true", help="replace earlier files")
    onnx.set_defaults(run=_onnx)


def _onnx(args) -> None:
    import torch

    from ..export.onnx_model import export_onnx
    from ..prediction.model import Model
    from ..prediction.model_files import FINAL, Choice, model_files

    choice = Choice(folds=None if args.fold is None else (args.fold,), checkpoint=args.checkpoint or FINAL)
    with model_files(args.model, choice) as files:
        model = Model(files, torch.device("cpu"))
    export_onnx(model, args.output, overwrite=args.overwrite)
