"""`nnunet-vmunet export onnx`: the network as an ONNX file, and beside it what must happen before and after it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import ops  # noqa: F401 - the operator that is translated
from ..errors import InputError
from ..files.atomic import atomic_file
from ..files.nnunet import write_json
from ..prediction.model import Model
from .description import IMAGE, PROBABILITIES, described

OPSET = 18  # of ONNX, from 2022: what onnxruntime 1.14 reads
PACKAGES = ("onnx", "onnxscript")


class Probabilities(nn.Module):
    """(b, c, h, w) to the probabilities of each output: softmax over labels, or a sigmoid for each region."""

    def __init__(self, network: nn.Module, *, has_regions: bool) -> None:
        super().__init__()
        self.network, self.has_regions = network, has_regions

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image)
        return logits.sigmoid() if self.has_regions else logits.softmax(1)


def export_onnx(model: Model, output: Path, *, overwrite: bool = False) -> Path:
    """Write the ONNX file, and a JSON file of the same name beside it, which is returned.

    The batch is dynamic, the patch fixed: it is the plans'.

    Raises:
        InputError: what the export needs is not installed, `output` exists, the model has several folds or is not two-
            dimensional, or its network has an operator that ONNX does not know.
    """
    description = output.with_suffix(".json")
    _check(model, output, description, overwrite)
    write_network(
        model.network_of_one_fold(),
        output,
        len(model.description.channels),
        tuple(model.settings["patch_size"]),
        has_regions=model.description.has_regions,
    )
    write_json(description, described(model))
    print(
        f"Wrote {output} ({output.stat().st_size / 1e6:.0f} MB) and {description.name}, which says what to do around it"
    )
    return description


def write_network(
    network: nn.Module, output: Path, channels: int, patch_size: tuple[int, ...], *, has_regions: bool
) -> None:
    """Write the ONNX file of a network: (batch, channels, *patch_size) to the probabilities of its outputs."""
    program = _program(Probabilities(network, has_regions=has_regions).cpu().eval(), channels, patch_size)
    with atomic_file(output) as partial:
        program.save(partial, include_initializers=True, external_data=False)


def _check(model: Model, output: Path, description: Path, overwrite: bool) -> None:
    if output.suffix.lower() != ".onnx":
        raise InputError(f"-o {output}: give the name of a file that ends in .onnx")
    for file in (output, description):
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists: give --overwrite to replace it")
    if len(model.settings["patch_size"]) != 2:
        raise InputError(f"{model.name} is a 3D model: nnunet-vmunet exports 2D ones")
    for package in PACKAGES:
        try:
            __import__(package)
        except ImportError as error:
            raise InputError(f'{package} is not installed: pip install "nnunet-vmunet[onnx]"') from error


def _program(network: nn.Module, channels: int, patch_size: tuple[int, ...]):
    import onnx_ir
    from onnx.numpy_helper import from_array

    from . import onnx_scan

    def translated(x, delta, delta_weight, A, B, C, D, delta_bias, backend, save_states):
        _, height, width, channels = x.shape
        together = onnx_scan.walks_together(A.shape[-1], channels)
        indices = [constant(index) for index in onnx_scan.walks(height, width, together)]
        y = onnx_scan.ss2d_scan(x, delta, delta_weight, A, B, C, D, delta_bias, *indices)
        return y, onnx_scan.no_states()

    def constant(index: Tensor):
        return onnx_scan.op.Constant(value=from_array(index.numpy()))

    images = torch.zeros(2, channels, *patch_size)  # two: a batch of one would be taken for a fixed size
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[PROBABILITIES],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table={torch.ops.nnunet_vmunet.ss2d_scan.default: translated},
        )
    assert program is not None  # it is where nothing is written
    for function in onnx_scan.FUNCTIONS:  # the exporter adds what it meets, and not what that calls
        added = onnx_ir.serde.deserialize_function(function.to_function_proto())
        program.model.functions[added.identifier()] = added
    return program
