"""The original's normalisation of its inputs, as far as nnU-Net's plans can say it."""

from __future__ import annotations

import copy

CT_WINDOW = (-125.0, 275.0)  # Hounsfield units that the original clips Synapse to and scales to [0, 1]


def as_the_original(plans: dict, configuration: str) -> tuple[dict, str]:
    """Plans whose configuration normalises as the original trained, and one line on what remains different.

    The original subtracts a dataset's mean and divides by its standard deviation for ISIC, and then stretches every
    image to 0..255 by its own minimum and maximum, which undoes the former. nnU-Net has no scheme that does this over
    all channels together; the values as they are differ from it by the stretch alone.
    """
    plans = copy.deepcopy(plans)
    settings = plans["configurations"][configuration]
    schemes = settings["normalization_schemes"]
    if schemes == ["CTNormalization"]:
        low, high = CT_WINDOW
        plans["foreground_intensity_properties_per_channel"]["0"].update(
            percentile_00_5=low, percentile_99_5=high, mean=low, std=high - low
        )
        return plans, f"clipped to {low:g}..{high:g} HU and scaled to [0, 1], as the original does for Synapse"
    if len(schemes) == 3:
        settings["normalization_schemes"] = ["NoNormalization"] * 3
        settings["use_mask_for_norm"] = [False] * 3
        return plans, (
            "the stored values, 0 to 255 for photographs; the original also stretches each image to its own minimum "
            "and maximum, which nnU-Net has no scheme for"
        )
    return plans, f"left as planned ({', '.join(schemes)}); compare it with how the checkpoint's images were made"
