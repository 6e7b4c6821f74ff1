"""Checkpoints with the names and shapes of published ones, made on the spot, every value of its own."""

from __future__ import annotations

import torch
from torch import Tensor

DEPTHS = {"T": (2, 2, 9, 2), "S": (2, 2, 27, 2), "B": (2, 2, 27, 2)}
WIDTHS = {"T": 96, "S": 96, "B": 128}


def block_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Of one VSS block, by the original's names."""
    inner, rank = 2 * width, -(-width // 16)
    scan = "self_attention."
    return {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        f"{scan}x_proj_weight": (4, rank + 32, inner),
        f"{scan}dt_projs_weight": (4, inner, rank),
        f"{scan}dt_projs_bias": (4, inner),
        f"{scan}A_logs": (4 * inner, 16),
        f"{scan}Ds": (4 * inner,),
        f"{scan}in_proj.weight": (2 * inner, width),
        f"{scan}conv2d.weight": (inner, 1, 3, 3),
        f"{scan}conv2d.bias": (inner,),
        f"{scan}out_norm.weight": (inner,),
        f"{scan}out_norm.bias": (inner,),
        f"{scan}out_proj.weight": (width, inner),
    }


def encoder_shapes(depths, width: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "patch_embed.proj.weight": (width, 3, 4, 4),
        "patch_embed.proj.bias": (width,),
        "patch_embed.norm.weight": (width,),
        "patch_embed.norm.bias": (width,),
    }
    for i, depth in enumerate(depths):
        dim = width * 2**i
        for j in range(depth):
            shapes |= {f"layers.{i}.blocks.{j}.{name}": shape for name, shape in block_shapes(dim).items()}
        if i < len(depths) - 1:
            down = f"layers.{i}.downsample."
            shapes |= {
                f"{down}reduction.weight": (2 * dim, 4 * dim),
                f"{down}norm.weight": (4 * dim,),
                f"{down}norm.bias": (4 * dim,),
            }
    return shapes


def vmamba_shapes(size: str) -> dict[str, tuple[int, ...]]:
    last = 8 * WIDTHS[size]
    classifier = {"norm.weight": (last,), "norm.bias": (last,), "head.weight": (1000, last), "head.bias": (1000,)}
    return encoder_shapes(DEPTHS[size], WIDTHS[size]) | classifier


def vmunet_shapes(input_channels: int, classes: int, width: int = 96) -> dict[str, tuple[int, ...]]:
    shapes = encoder_shapes((2, 2, 2, 2), width)
    shapes["patch_embed.proj.weight"] = (width, input_channels, 4, 4)
    for j, depth in enumerate((2, 2, 2, 1)):
        dim = width * 2 ** (3 - j)
        for k in range(depth):
            shapes |= {f"layers_up.{j}.blocks.{k}.{name}": shape for name, shape in block_shapes(dim).items()}
        if j:
            up = f"layers_up.{j}.upsample."
            shapes |= {f"{up}expand.weight": (4 * dim, 2 * dim), f"{up}norm.weight": (dim,), f"{up}norm.bias": (dim,)}
    fine = width // 4
    return shapes | {
        "final_up.expand.weight": (4 * width, width),
        "final_up.norm.weight": (fine,),
        "final_up.norm.bias": (fine,),
        "final_conv.weight": (classes, fine, 1, 1),
        "final_conv.bias": (classes,),
    }


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Every tensor has values that no other has: whole numbers of its own times 1/1024, and a slope along it."""
    return {
        name: (torch.linspace(0, 1, int(torch.tensor(shape).prod())) + i).reshape(shape) / 1024
        for i, (name, shape) in enumerate(shapes.items())
    }


def newer_spelling(name: str) -> str:
    """As VMamba's later code names the same tensors of version 0."""
    parts = name.split(".")
    if parts[0] == "patch_embed":
        parts[1] = {"proj": "0", "norm": "2"}[parts[1]]
    if parts[0] in ("norm", "head"):
        parts.insert(0, "classifier")
    return ".".join({"ln_1": "norm", "self_attention": "op"}.get(part, part) for part in parts)


def our_name(original: str) -> str:
    """Written down anew, so that the tests do not follow the code's table."""
    first, _, rest = original.partition(".")
    rest = rest.replace("ln_1.", "norm.").replace("self_attention.", "ss2d.")
    ours = {
        "patch_embed": "encoder.patch_embed",
        "layers": "encoder.stages",
        "layers_up": "decoder.stages",
        "final_up": "decoder.final_up",
        "final_conv": "decoder.seg_layers.0",
    }[first]
    return f"{ours}.{rest}"
