"""The network that weights are imported for: by numbers, or as a dataset needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ..dataset_json import FILE_NAME, DatasetJson, read_dataset_json
from ..errors import InputError
from ..files.nnunet import datasets_called, nnunet_folder, read_json
from ..models.network import UShapedNetwork
from ..plans import NETWORKS, PAPERS, architecture_of, build_network, network_class, paper_architecture

CONFIGURATION = "2d"


@dataclass(frozen=True)
class Dataset:
    """What nnU-Net knows of a dataset; without plans where it was not planned yet."""

    name: str
    folder: Path  # in $nnUNet_preprocessed, or in $nnUNet_raw
    description: DatasetJson
    plans_name: str
    plans: dict | None


@dataclass(frozen=True)
class Target:
    """What the network to be filled takes and gives."""

    input_channels: int
    num_classes: int  # output channels, the background's included
    architecture: dict = field(default_factory=paper_architecture)  # as in the plans
    dataset: Dataset | None = None
    trainer: str = NETWORKS[PAPERS].trainer  # that trains it

    def network(self, seed: int) -> UShapedNetwork:
        """Initialised, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return build_network(self.architecture, self.input_channels, self.num_classes)
            except Exception as error:  # as for `target_for_dataset`
                raise InputError(
                    f"no network can be made as the plans say, {self.architecture} ({_reason(error)}): "
                    "correct the plans or plan again"
                ) from error


def target_by_numbers(input_channels: int, num_classes: int, network: str | None = None) -> Target:
    """The paper's network, or another of `plans.NETWORKS`, for these channels and classes.

    Raises:
        InputError: there is no such network.
    """
    if min(input_channels, num_classes) < 1:
        raise InputError(f"--input-channels {input_channels} --num-classes {num_classes}: give numbers from 1")
    name = _known(network) or PAPERS
    return Target(input_channels, num_classes, architecture_of(name), trainer=NETWORKS[name].trainer)


def target_for_dataset(dataset: str, plans_name: str = "nnUNetPlans", network: str | None = None) -> Target:
    """Channels, classes and, where there are plans for one of our networks, its class and sizes.

    Args:
        dataset: nnU-Net's id or name, in $nnUNet_preprocessed or else in $nnUNet_raw.
        network: one of `plans.NETWORKS`, whatever the plans name; default what they name, else the paper's.

    Raises:
        InputError: it is in neither, or is described otherwise than nnU-Net does, or there is no such network.
    """
    _known(network)
    found = _dataset(dataset, plans_name)
    try:
        return _target(found, network)
    except Exception as error:  # files edited by hand can be wrong in any way
        raise InputError(
            f"{found.folder / plans_name}.json is not as nnU-Net writes it, correct it or plan again ({_reason(error)})"
        ) from error


def _target(found: Dataset, network: str | None) -> Target:
    architecture = architecture_of(network or PAPERS)
    if found.plans is not None and network is None:
        planned = PlansManager(found.plans).get_configuration(CONFIGURATION).configuration["architecture"]
        if network_class(planned["network_class_name"]):
            architecture = planned
    trainer = NETWORKS[network or PAPERS].trainer
    return Target(len(found.description.channels), found.description.num_outputs, architecture, found, trainer)


def _dataset(dataset: str, plans_name: str) -> Dataset:
    searched = list(filter(None, map(nnunet_folder, ("nnUNet_preprocessed", "nnUNet_raw"))))
    if not searched:
        raise InputError(
            "neither nnUNet_preprocessed nor nnUNet_raw is set: export them, or give --input-channels "
            "and --num-classes instead of --dataset"
        )
    for place in searched:
        found = [folder for folder in datasets_called(dataset, place) if (folder / FILE_NAME).is_file()]
        if len(found) > 1:
            raise InputError(f"--dataset {dataset}: {place} holds {found[0].name} and {found[1].name}, give the name")
        if found:
            return _read(found[0], plans_name)
    raise InputError(f"--dataset {dataset}: no such dataset in {' or '.join(map(str, searched))}")


def _read(folder: Path, plans_name: str) -> Dataset:
    file = folder / f"{plans_name}.json"
    plans = read_json(file, dict) if file.is_file() else None
    if plans is None and plans_name != "nnUNetPlans":
        raise InputError(f"{file} is not there: plan first, or choose other plans with -pl")
    if plans is not None and CONFIGURATION not in plans.get("configurations", {}):
        raise InputError(f"{file} has no configuration {CONFIGURATION}: plan with -c {CONFIGURATION}")
    description = read_dataset_json(folder / FILE_NAME)
    description.refuse_untrainable()
    return Dataset(folder.name, folder, description, plans_name, plans)


def _known(network: str | None) -> str | None:
    if network is not None and network not in NETWORKS:
        raise InputError(f"--network {network}: choose from {', '.join(NETWORKS)}")
    return network


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
