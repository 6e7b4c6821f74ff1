"""Our names for the tensors of others: of the networks as their authors published them, and of VMamba.

A file is of one kind, and a network takes some kinds: `TAKES` says which, and what each tensor is called there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import Tensor, nn

from ..models import MambaUNet, SwinUMambaD, VMamba2Encoder, VMamba2UNet, VMUNet


class Kind(Enum):
    """Whose weights a file holds; the values are what the user reads."""

    VMAMBA = "VMamba v0, trained on ImageNet"
    VMAMBA2 = "VMamba v2, trained on ImageNet"
    ORIGINAL = "VM-UNet, trained with the original implementation"
    SWIN_UMAMBA = "Swin-UMamba†, trained with the original implementation"
    MAMBA_UNET = "Mamba-UNet, trained with the original implementation"
    OURS = "a network of this plugin"


Replacements = tuple[tuple[str, "str | Callable[[re.Match], str]"], ...]

# DataParallel's, torch.compile's, and those that published VM-UNet and Mamba-UNet checkpoints carry.
PREFIX = r"^(module\.)?(_orig_mod\.)?(vmunet\.|mamba_unet\.)?"
BLOCK_PARTS: Replacements = ((r"\.ln_1\.", ".norm."), (r"\.(self_attention|op)\.", ".ss2d."))
ENCODER: Replacements = ((r"^patch_embed\.", "encoder.patch_embed."), (r"^layers\.", "encoder.stages."))

# An original's name -> ours. Applied in this order, each at most once.
VMUNETS: Replacements = (
    (PREFIX, ""),
    *ENCODER,
    (r"^layers_up\.", "decoder.stages."),
    (r"^final_up\.", "decoder.final_up."),
    (r"^final_conv\.", "decoder.seg_layers.0."),
    *BLOCK_PARTS,
)
SWIN_UMAMBAS: Replacements = (
    (r"^vssm_encoder\.downsamples\.(\d)\.", r"encoder.stages.\1.downsample."),
    (r"^vssm_encoder\.layers\.", "encoder.stages."),
    (r"^vssm_encoder\.", "encoder."),
    (r"^decoder\.expand_layers\.3\.", "decoder.final_up."),
    (r"^decoder\.expand_layers\.(\d)\.", r"decoder.stages.\1.upsample."),
    (r"^decoder\.concat_back_dim\.(\d)\.", r"decoder.stages.\1.merge."),
    *BLOCK_PARTS,
)
MAMBA_UNETS: Replacements = (
    *ENCODER,
    (r"^norm\.", "encoder.norm."),
    # Its stage 0 is an expansion alone, and each further one ends in one. Ours begin with them.
    (r"^layers_up\.0\.", "decoder.stages.0.upsample."),
    (r"^layers_up\.(\d)\.upsample\.", r"decoder.stages.\1.upsample."),
    (r"^layers_up\.(\d)\.", lambda name: f"decoder.stages.{int(name[1]) - 1}."),
    (r"^concat_back_dim\.(\d)\.", lambda name: f"decoder.stages.{int(name[1]) - 1}.merge."),
    (r"^norm_up\.", "decoder.norm."),
    (r"^up\.", "decoder.final_up."),
    (r"^output\.", "decoder.seg_layers.0."),
    *BLOCK_PARTS,
)
VMAMBA2S: Replacements = (
    (r"^patch_embed\.0\.", "patch_embed.proj1."),
    (r"^patch_embed\.2\.", "patch_embed.norm1."),
    (r"^patch_embed\.5\.", "patch_embed.proj2."),
    (r"^patch_embed\.7\.", "patch_embed.norm2."),
    (r"^layers\.", "stages."),
    (r"\.downsample\.1\.", ".downsample.reduction."),
    (r"\.downsample\.3\.", ".downsample.norm."),
    *BLOCK_PARTS,
)

PATCH_EMBEDDING = re.compile(r"(encoder\.)?patch_embed\.proj1?\.weight")
OUTPUT_LAYER = "decoder.seg_layers."

STAGES = 4
# VMamba's depths and first width.
SIZES: dict[tuple[int, ...], str] = {
    (2, 2, 9, 2, 96): "T",
    (2, 2, 27, 2, 96): "S",
    (2, 2, 27, 2, 128): "B",
    (2, 2, 8, 2, 96): "T",
}
# VMamba later renamed the same tensors: newer spelling -> the one that VM-UNet kept.
SPELLINGS: Replacements = (
    (r"^patch_embed\.0\.", "patch_embed.proj."),
    (r"^patch_embed\.2\.", "patch_embed.norm."),
    (r"(\.blocks\.\d+)\.norm\.", r"\1.ln_1."),
    (r"(\.blocks\.\d+)\.op\.", r"\1.self_attention."),
    (r"^classifier\.", ""),
)
VMAMBA_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")
VMAMBA_PATCH_EMBEDDINGS = ("patch_embed.proj.weight", "patch_embed.0.weight")
# Version 2 has a second branch in each block, a stem of two convolutions and convolutions between the stages.
ONLY_IN_V2 = re.compile(r"^patch_embed\.[57]\.|\.blocks\.\d+\.(mlp|norm2)\.|^layers\.\d+\.downsample\.[13]\.")


def rename(original_name: str) -> str:
    """The original VM-UNet's name of a tensor, with or without prefix, in our naming; our own names stay."""
    return _replaced(original_name, VMUNETS)


def _by(replacements: Replacements, prefix: str = "") -> Callable[[str], list[str]]:
    return lambda name: [prefix + _replaced(name, replacements)]


def _vmamba_in_vmunet(name: str) -> list[str]:
    """Blocks of stage i go into encoder stage i and into decoder stage 3-i.

    Section 4.2 of the paper, and `load_from` of the original. VM-UNet's stages are shorter: places that they lack are
    among the answer all the same.
    """
    return [_replaced(twin, VMUNETS) for twin in _with_decoders(name)]


def _vmamba_in_mamba_unet(name: str) -> list[str]:
    """As in VM-UNet, but for the deepest stage, which has no counterpart; the classifier's norm goes to the bottom."""
    twins = [twin for twin in _with_decoders(name) if not twin.startswith("layers_up.0.")]
    return [_replaced(twin, MAMBA_UNETS) for twin in twins]


def _vmamba_in_encoder(name: str) -> list[str]:
    return [_replaced(_replaced(name, SPELLINGS), VMUNETS)]


def _with_decoders(name: str) -> list[str]:
    """VMamba's tensor by its old name, and as the decoder's twin of it where it is a block's."""
    old = _replaced(name, SPELLINGS)
    block = VMAMBA_BLOCK.match(old)
    return [old, f"layers_up.{STAGES - 1 - int(block[1])}{old[block.end(1) :]}"] if block else [old]


@dataclass(frozen=True)
class Taker:
    """A network that weights are put into."""

    network: type[nn.Module]
    kinds: Mapping[Kind, Callable[[str], list[str]]]  # that it takes besides OURS, and what a tensor is called there
    from_vmamba: str  # a pattern of the names that VMamba fills


# Of a network the first whose class it is of.
TAKES = (
    Taker(VMamba2Encoder, {Kind.VMAMBA2: _by(VMAMBA2S)}, ""),
    Taker(VMamba2UNet, {Kind.VMAMBA2: _by(VMAMBA2S, "encoder.")}, r"^encoder\."),
    Taker(VMUNet, {Kind.VMAMBA: _vmamba_in_vmunet, Kind.ORIGINAL: _by(VMUNETS)}, r"^encoder\.|\.blocks\."),
    Taker(SwinUMambaD, {Kind.VMAMBA: _vmamba_in_encoder, Kind.SWIN_UMAMBA: _by(SWIN_UMAMBAS)}, r"^encoder\."),
    Taker(MambaUNet, {Kind.VMAMBA: _vmamba_in_mamba_unet, Kind.MAMBA_UNET: _by(MAMBA_UNETS)}, r"^encoder\.|\.blocks\."),
)


def taker(network: nn.Module) -> Taker:
    """What is known of the network's weights."""
    known = (taker for taker in TAKES if isinstance(network, taker.network))
    return next(known, Taker(type(network), {}, ""))


def places(name: str, kind: Kind, network: nn.Module) -> list[str]:
    """Our names for a file's tensor, without prefix; not all must be there. Empty for a kind that does not fit."""
    if kind is Kind.OURS:
        return [name]
    find = taker(network).kinds.get(kind)
    return find(name) if find else []


def is_vmamba_v0(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are VMamba's of version 0, in either spelling.

    Those of the original VM-UNet and Mamba-UNet are, too.
    """
    old = {_replaced(name, SPELLINGS) for name in names}
    return {"patch_embed.proj.weight", "layers.0.blocks.0.self_attention.x_proj_weight"} <= old


def is_vmamba_v2(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are those of VMamba's later architecture."""
    names = list(names)
    return any(".op." in name for name in names) and any(ONLY_IN_V2.search(name) for name in names)


def is_swin_umamba(names: Iterable[str]) -> bool:
    """Whether the names, without prefixes, are those of Swin-UMamba†."""
    return "vssm_encoder.layers.0.blocks.0.self_attention.x_proj_weight" in names


def depths_of_vmamba(names: Iterable[str]) -> tuple[int, ...]:
    """Blocks of each stage of VMamba, of either version."""
    blocks = {(int(stage), int(block)) for stage, block in VMAMBA_BLOCK.findall("\n".join(names))}
    return tuple(sum(stage == i for stage, _ in blocks) for i in range(1 + max(stage for stage, _ in blocks)))


def describe_vmamba(tensors: Mapping[str, Tensor], version: str = "v0") -> str:
    """Such as "VMamba-S v0 (blocks 2, 2, 27, 2; 96 channels)"."""
    depths, width = depths_of_vmamba(tensors), len(tensors["layers.0.blocks.0.norm.weight"]) if version == "v2" else 0
    width = width or next(len(tensors[name]) for name in VMAMBA_PATCH_EMBEDDINGS if name in tensors)
    size = SIZES.get((*depths, width))
    return f"VMamba{f'-{size}' if size else ''} {version} (blocks {', '.join(map(str, depths))}; {width} channels)"


def _replaced(name: str, replacements: Replacements) -> str:
    for pattern, replacement in replacements:
        name = re.sub(pattern, replacement, name, count=1)
    return name
