"""ImageNet weights of VMamba, version 0 (MzeroMiko/VMamba): their names, sizes, and places in VM-UNet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .original import rename

STAGES = 4
# Depths and first width.
SIZES: dict[tuple[int, ...], str] = {(2, 2, 9, 2, 96): "T", (2, 2, 27, 2, 96): "S", (2, 2, 27, 2, 128): "B"}
# VMamba later renamed the same tensors: newer spelling -> the one that VM-UNet kept.
SPELLINGS = (
    (r"^patch_embed\.0\.", "patch_embed.proj."),
    (r"^patch_embed\.2\.", "patch_embed.norm."),
    (r"(\.blocks\.\d+)\.norm\.", r"\1.ln_1."),
    (r"(\.blocks\.\d+)\.op\.", r"\1.self_attention."),
)
BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")
# Version 2 has a second branch in each block, a stem of two convolutions and convolutions between the stages.
ONLY_IN_V2 = re.compile(r"^patch_embed\.[57]\.|\.blocks\.\d+\.(mlp|norm2)\.|^layers\.\d+\.downsample\.[13]\.")
PATCH_EMBEDDINGS = ("patch_embed.proj.weight", "patch_embed.0.weight")


def is_v2(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are those of VMamba's later architecture."""
    names = list(names)
    return any(".op." in name for name in names) and any(ONLY_IN_V2.search(name) for name in names)


def is_v0(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are VMamba's of version 0, in either spelling."""
    old = {_old_spelling(name) for name in names}
    return {"patch_embed.proj.weight", "layers.0.blocks.0.self_attention.x_proj_weight"} <= old


def describe(tensors: Mapping[str, Tensor]) -> str:
    """Such as "VMamba-S v0 (blocks 2, 2, 27, 2; 96 channels)"."""
    blocks = {(int(stage), int(block)) for stage, block in BLOCK.findall("\n".join(tensors))}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(1 + max(stage for stage, _ in blocks)))
    width = next(len(tensors[name]) for name in PATCH_EMBEDDINGS if name in tensors)
    size = SIZES.get((*depths, width))
    return f"VMamba{f'-{size}' if size else ''} v0 (blocks {', '.join(map(str, depths))}; {width} channels)"


def places(name: str) -> list[str]:
    """Where VM-UNet wants a tensor of VMamba: blocks of stage i in encoder stage i and in decoder stage 3-i.

    Section 4.2 of the paper, and `load_from` of the original. VM-UNet's stages are shorter: places that they lack are
    among the answer all the same.
    """
    old = _old_spelling(name)
    block = BLOCK.match(old)
    if not block:
        return [rename(old)]
    stage, rest = int(block[1]), old[block.end(1) :]
    return [rename(old), rename(f"layers_up.{STAGES - 1 - stage}{rest}")]


def _old_spelling(name: str) -> str:
    for pattern, replacement in SPELLINGS:
        name = re.sub(pattern, replacement, name, count=1)
    return name
