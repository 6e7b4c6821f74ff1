"""nnU-Net's plans and predictor as they are needed here: without registration, and without nnU-Net's detours."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from functools import cached_property, partial

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from .. import image_io
from ..dataset_json import DatasetJson
from ..errors import InputError
from ..plans import build_network as build_planned_network
from ..preprocessing import PaperPreprocessor
from ..requirement import AVERAGING, PAPER_PREPROCESSOR
from ..resampling import resample_averaging


class Configuration(ConfigurationManager):
    """nnU-Net's, which finds this package's preprocessor and resampling wherever nnU-Net would search for them."""

    @cached_property
    def preprocessor_class(self):
        return PaperPreprocessor if self.preprocessor_name == PAPER_PREPROCESSOR else super().preprocessor_class

    @cached_property
    def resampling_fn_data(self):
        if self.configuration["resampling_fn_data"] != AVERAGING:
            return super().resampling_fn_data
        return partial(resample_averaging, **self.configuration["resampling_fn_data_kwargs"])

    @property
    def resampling_fn_seg(self):
        """Leaves the mask of what is not black as it is: nnU-Net would resample it, and nobody reads it."""
        return lambda mask, *_: mask


class Plans(PlansManager):
    """nnU-Net's, which finds this package's readers."""

    @cached_property
    def image_reader_writer_class(self):
        name = self.plans["image_reader_writer"]
        return getattr(image_io, name) if name in image_io.__all__ else super().image_reader_writer_class

    def get_configuration(self, configuration_name: str) -> Configuration:
        """The configuration, with what it inherits."""
        return Configuration(self._internal_resolve_configuration_inheritance(configuration_name))


def build_network(
    trainer: str, plans: Plans, configuration: Configuration, description: DatasetJson, *, as_planned: bool = False
) -> nn.Module:
    """The network as the trainer of that name builds it, without weights.

    as_planned: it is what the plans name, and autocast does not matter: nnU-Net's trainer, whose import takes more than
    a second, is not asked.

    Raises:
        InputError: neither this package nor nnU-Net knows the trainer.
    """
    heads = plans.get_label_manager(description.content).num_segmentation_heads
    channels = determine_num_input_channels(plans, configuration, description.content)
    if as_planned:
        return build_planned_network(configuration.configuration["architecture"], channels, heads)
    from .. import trainers

    ours = getattr(trainers, trainer, None)
    if isinstance(ours, type) and issubclass(ours, trainers.nnUNetTrainerVMUNet):
        return ours.network_of(configuration, channels, heads)
    try:
        named = recursive_find_trainer_class_by_name(trainer)
    except RuntimeError as error:
        raise InputError(
            f"the model was trained with {trainer}, which nnU-Net does not know here: install what brings it, or set "
            "nnUNet_extTrainer to its folder"
        ) from error
    return named.build_network_architecture(plans, configuration, channels, heads, enable_deep_supervision=False)


def compute_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Let a network whose weights are of this type take float32 images, and give float32 logits."""
    network.register_forward_pre_hook(lambda _, images: (images[0].to(dtype),))
    network.register_forward_hook(lambda _, images, logits: logits.float())


class Predictor(nnUNetPredictor):
    """nnU-Net's, for one image after the other in one process.

    nnU-Net copies the weights into the network for each image. Here the network takes hold of those of a fold, and
    keeps them as long as no other fold's turn comes.
    """

    def __init__(self, device: torch.device, *, mirror: bool) -> None:
        with redirect_stdout(io.StringIO()):  # which says on a CPU that it is none of CUDA's devices
            super().__init__(
                use_mirroring=mirror,
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
        self._held: dict | None = None

    def hold(self, weights: dict) -> None:
        """Give the network the weights of a fold."""
        if weights is not self._held:
            self.network.load_state_dict(weights, assign=True)
            self._held = weights

    @torch.inference_mode()
    def predict_logits_from_preprocessed_data(self, data: Tensor) -> Tensor:
        """(c, slices, h, w) to logits (heads, slices, h, w), the mean over the folds, on the CPU."""
        total: Tensor | None = None
        for weights in self.list_of_parameters:
            self.hold(weights)
            logits = self.predict_sliding_window_return_logits(data).to("cpu")
            total = logits if total is None else total.add_(logits)
        assert total is not None  # a model has a fold
        return total if len(self.list_of_parameters) == 1 else total.div_(len(self.list_of_parameters))
