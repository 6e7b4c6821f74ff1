"""Our names for the tensors of the original VM-UNet (JCruan519/VM-UNet) and of VMamba, version 0 (MzeroMiko/VMamba)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

# DataParallel's, torch.compile's, and the one that published VM-UNet checkpoints carry.
PREFIX = r"^(module\.)?(_orig_mod\.)?(vmunet\.)?"
# The original's name -> ours. Applied in this order, each at most once.
RENAMES = (
    (PREFIX, ""),
    (r"^patch_embed\.", "encoder.patch_embed."),
    (r"^layers\.", "encoder.stages."),
    (r"^layers_up\.", "decoder.stages."),
    (r"^final_up\.", "decoder.final_up."),
    (r"^final_conv\.", "decoder.seg_layers.0."),
    (r"\.ln_1\.", ".norm."),
    (r"\.self_attention\.", ".ss2d."),
)
PATCH_EMBEDDING = "encoder.patch_embed.proj.weight"
OUTPUT_LAYER = "decoder.seg_layers.0."

STAGES = 4
# VMamba's depths and first width.
SIZES: dict[tuple[int, ...], str] = {(2, 2, 9, 2, 96): "T", (2, 2, 27, 2, 96): "S", (2, 2, 27, 2, 128): "B"}
# VMamba later renamed the same tensors: newer spelling -> the one that VM-UNet kept.
SPELLINGS = (
    (r"^patch_embed\.0\.", "patch_embed.proj."),
    (r"^patch_embed\.2\.", "patch_embed.norm."),
    (r"(\.blocks\.\d+)\.norm\.", r"\1.ln_1."),
    (r"(\.blocks\.\d+)\.op\.", r"\1.self_attention."),
)
VMAMBA_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")
VMAMBA_PATCH_EMBEDDINGS = ("patch_embed.proj.weight", "patch_embed.0.weight")
# Version 2 has a second branch in each block, a stem of two convolutions and convolutions between the stages.
ONLY_IN_V2 = re.compile(r"^patch_embed\.[57]\.|\.blocks\.\d+\.(mlp|norm2)\.|^layers\.\d+\.downsample\.[13]\.")


def rename(original_name: str) -> str:
    """The original's name of a tensor, with or without prefix, in our naming; our own names stay as they are."""
    return _replaced(original_name, RENAMES)


def places_of_vmamba(name: str) -> list[str]:
    """Where VM-UNet wants a tensor of VMamba: blocks of stage i in encoder stage i and in decoder stage 3-i.

    Section 4.2 of the paper, and `load_from` of the original. VM-UNet's stages are shorter: places that they lack are
    among the answer all the same.
    """
    old = _replaced(name, SPELLINGS)
    block = VMAMBA_BLOCK.match(old)
    if not block:
        return [rename(old)]
    stage, rest = int(block[1]), old[block.end(1) :]
    return [rename(old), rename(f"layers_up.{STAGES - 1 - stage}{rest}")]


def is_vmamba_v0(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are VMamba's of version 0, in either spelling. The original's are, too."""
    old = {_replaced(name, SPELLINGS) for name in names}
    return {"patch_embed.proj.weight", "layers.0.blocks.0.self_attention.x_proj_weight"} <= old


def is_vmamba_v2(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are those of VMamba's later architecture."""
    names = list(names)
    return any(".op." in name for name in names) and any(ONLY_IN_V2.search(name) for name in names)


def describe_vmamba(tensors: Mapping[str, Tensor]) -> str:
    """Such as "VMamba-S v0 (blocks 2, 2, 27, 2; 96 channels)"."""
    blocks = {(int(stage), int(block)) for stage, block in VMAMBA_BLOCK.findall("\n".join(tensors))}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(1 + max(stage for stage, _ in blocks)))
    width = next(len(tensors[name]) for name in VMAMBA_PATCH_EMBEDDINGS if name in tensors)
    size = SIZES.get((*depths, width))
    return f"VMamba{f'-{size}' if size else ''} v0 (blocks {', '.join(map(str, depths))}; {width} channels)"


def _replaced(name: str, replacements: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in replacements:
        name = re.sub(pattern, replacement, name, count=1)
    return name
