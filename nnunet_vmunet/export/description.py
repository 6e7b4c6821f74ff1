"""What must happen before and after the network, as plain values: the JSON file beside an exported model."""

from __future__ import annotations

from .. import __version__
from ..image_io import EXTENT, WholeImageIO
from ..model_images import wanted_by
from ..prediction.model import Model
from ..preprocessing import AS_STORED, CT, CT_WINDOW, STRETCHED
from ..requirement import AVERAGING, PAPER_PREPROCESSOR

FORMAT = 1  # raised when a reader of an earlier one would misunderstand it
IMAGE, PROBABILITIES = "image", "probabilities"  # the names of the network's input and output


def described(model: Model) -> dict:
    """The content of the file."""
    settings, description = model.settings, model.description
    outputs = list(description.labels) if description.has_regions else ["background", *description.labels]
    return {
        "format": FORMAT,
        "written_by": f"nnunet-vmunet {__version__}",
        "model": model.plans.get("dataset_name"),
        "input": {
            "name": IMAGE,
            "shape": ["batch", len(description.channels), *settings["patch_size"]],
            "type": "float32",
        },
        "output": {
            "name": PROBABILITIES,
            "activation": "sigmoid" if description.has_regions else "softmax",
            "outputs": outputs,
        },
        "reading": _reading(model),
        "normalisation": _normalisation(model),
        "resampling": {
            "spacing": settings["spacing"],
            "images": "shrinking axes averaged over the area, growing ones cubic"
            if settings["resampling_fn_data"] == AVERAGING
            else "cubic",
            "probabilities": "linear, of their logarithm",
        },
        "window": {"step": 0.5, "weights": "gaussian", "sigma": 1 / 8},
        "mirroring_axes": list(model.mirroring_axes),
        "labels": description.content["labels"],
        "regions_class_order": list(description.regions_class_order),
    }


def _reading(model: Model) -> dict:
    channels = list(model.description.channels)
    if not model.takes_photographs:
        return {"kind": "volume", "channels": channels, "transpose": model.plans["transpose_forward"]}
    wanted = wanted_by(model.description, None, model.name, model.files_per_image)
    is_whole = isinstance(model.reader, WholeImageIO)
    return {
        "kind": "photograph",
        "channels": channels,
        "files": model.files_per_image,
        "upright": wanted.upright,
        "bits": wanted.bits,
        "lowest_value": 1 if is_whole else 0,  # 0 becomes 1, so that nothing black is cut off
        "extent": EXTENT if is_whole else None,  # of height and of width, in units of the spacing; None: its pixels
    }


def _normalisation(model: Model) -> list[dict]:
    """For each channel the scheme, and its numbers."""
    plans, settings = model.plans, model.settings
    of_the_paper = settings["preprocessor_name"] == PAPER_PREPROCESSOR
    statistics = plans.get("foreground_intensity_properties_per_channel", {})
    found = []
    for channel, scheme in enumerate(settings["normalization_schemes"]):
        if of_the_paper and scheme == CT:
            found.append({"scheme": "window", "low": CT_WINDOW[0], "high": CT_WINDOW[1]})
        elif of_the_paper and scheme != AS_STORED:
            found.append({"scheme": "stretch", "high": STRETCHED, "over": "all channels that are stretched"})
        else:
            found.append({"scheme": scheme, **(statistics.get(str(channel), {}) if scheme == CT else {})})
    return found
