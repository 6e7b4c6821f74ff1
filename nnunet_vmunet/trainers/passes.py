"""Passes over the training data: an epoch of the paper sees every image, or every slice of every volume, once.

nnU-Net draws random cases instead, with replacement. Here the batches are consecutive pieces of an endless chain of
shuffled passes. What stands at a position of the chain depends on nothing else, so worker processes, DDP ranks and a
continued training agree on it without talking to each other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from ..files.processes import end_with_parent
from .seeds import Purpose, generator, seed_everything


@dataclass(frozen=True)
class Case:
    """What a training asks of a preprocessed case before it starts.

    Args:
        slices: those that are worth a visit.
        lowest, highest: values of the label image; -1 is nnU-Net's label of what it cut off.
        read_seg: reads the label image (1, slices, h, w).
    """

    name: str
    channels: int
    slices: Sequence[int]
    lowest: int
    highest: int
    has_foreground: bool
    read_seg: Callable[[], np.ndarray]


class SliceDataset:
    """A preprocessed nnU-Net dataset in which every slice is a case of its own, named (case, slice).

    All label images are read once for their values: 2000 of 256×256 in 2 s, one of 512×512×150 in 0.1 s, on a
    two-core Xeon.

    Args:
        dataset: nnU-Net's; a photograph has one slice.
        annotated: nnU-Net's key of all annotated pixels if the dataset has an ignore label, else None. Slices without
            any such pixel teach nothing and are left out.
    """

    def __init__(self, dataset: nnUNetBaseDataset, annotated: tuple[int, ...] | None = None) -> None:
        self.dataset = dataset
        self.cases = [_look_at(dataset, case, annotated) for case in dataset.identifiers]
        self.identifiers = [(case.name, z) for case in self.cases for z in case.slices]

    def __len__(self) -> int:
        return len(self.identifiers)

    def load_case(self, identifier: tuple[str, int]):
        """Load one slice as nnU-Net's dataset does: data (c, 1, h, w), seg (1, 1, h, w), None, and the properties."""
        case, z = identifier
        data, seg, _, properties = self.dataset.load_case(case)
        if data.shape[1] == 1:
            return data, seg, None, properties  # not read yet: of a large photograph only the patch will be
        locations = {label: _in_slice(voxels, z) for label, voxels in properties["class_locations"].items()}
        return data[:, z : z + 1], seg[:, z : z + 1], None, {**properties, "class_locations": locations}


class PassLoader(nnUNetDataLoader):
    """nnU-Net's data loader, but in passes.

    Where an image is larger than a patch, `oversample_foreground_percent` of the patches hold a pixel of one of its
    foreground labels: nnU-Net's rule, but counted along the chain, so that batches of any size get their share. A
    patch that covers its image shows all of it, and stays where it is. Patch and augmentation of an image follow from
    the seed and its position in the chain.

    Args:
        data, batch_size and the rest: as nnU-Net's; `batch_size` is this process's share.
        global_batch_size: of all DDP processes together.
        first_sample: position of this process's share in the global batch.
        first_batch: where in the chain to start, in batches: a continued training's iterations so far.
        num_workers: worker processes that draw alternate batches.
        seed: of order, patches and augmentation.
        purposes: whose numbers they are, of the order and of a sample.
    """

    def __init__(
        self,
        data: SliceDataset,
        batch_size: int,
        *args,
        global_batch_size: int,
        first_sample: int = 0,
        first_batch: int = 0,
        num_workers: int = 1,
        seed: int = 0,
        purposes: tuple[Purpose, Purpose] = (Purpose.TRAINING_ORDER, Purpose.TRAINING_SAMPLE),
        **kwargs,
    ) -> None:
        super().__init__(data, batch_size, *args, **kwargs)
        order, self.sample_purpose = purposes
        self.chain = PassChain(len(data.identifiers), seed, order)
        self.seed = seed
        self.global_batch_size = global_batch_size
        self.first_sample = first_sample
        self.first_batch = first_batch
        self.num_workers = num_workers
        self.batches_drawn = 0
        self.start = 0  # position in the chain of this process's share of the current batch
        self.get_do_oversample = self._begin_sample

    def set_thread_id(self, thread_id: int) -> None:
        """batchgenerators calls this in each worker process, first of all."""
        super().set_thread_id(thread_id)
        # The trainer's own process has built the network by now, on OpenMP threads that its forks wait for in vain.
        torch.set_num_threads(1)
        end_with_parent()

    def get_indices(self) -> Sequence[tuple[str, int]]:
        """(case, slice) of this process's share of the next batch that this worker draws."""
        batch = self.first_batch + self.batches_drawn * self.num_workers + self.thread_id
        self.batches_drawn += 1
        self.start = batch * self.global_batch_size + self.first_sample
        return [self.indices[self.chain[position]] for position in range(self.start, self.start + self.batch_size)]

    def _begin_sample(self, sample: int) -> bool:
        """What nnU-Net asks first for each sample of a batch: whether it is to show foreground.

        That is spread evenly over the chain's positions. What is drawn at random for this sample comes after this call.
        """
        position, share = self.start + sample, self.oversample_foreground_percent
        seed_everything(self.seed, self.sample_purpose, position)
        return math.floor((position + 1) * share) > math.floor(position * share)

    def get_bbox(self, data_shape: Sequence[int], force_fg: bool, *args, **kwargs):
        """nnU-Net's hook: lower and upper bounds of the patch in a slice (1, h, w)."""
        is_cut = any(n > patch for n, patch in zip(data_shape, self.final_patch_size, strict=True))
        return super().get_bbox(data_shape, force_fg and is_cut, *args, **kwargs)


class PassChain:
    """Shuffled passes over n items, one after the other for ever: position p lies in pass p // n."""

    def __init__(self, n: int, seed: int = 0, purpose: Purpose = Purpose.TRAINING_ORDER) -> None:
        self.n = n
        self.seed = seed
        self.purpose = purpose
        self._current = -1
        self._order = np.arange(n)

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.n)
        if number != self._current:
            self._current = number
            self._order = generator(self.seed, self.purpose, number).permutation(self.n)
        return int(self._order[place])


def _look_at(dataset: nnUNetBaseDataset, name: str, annotated: tuple[int, ...] | None) -> Case:
    data, seg, _, properties = dataset.load_case(name)
    labels = np.asarray(seg[:])
    return Case(
        name=name,
        channels=data.shape[0],
        slices=_slices(data.shape, properties, annotated),
        lowest=int(labels.min()),
        highest=int(labels.max()),
        has_foreground=any(len(voxels) for key, voxels in properties["class_locations"].items() if _is_foreground(key)),
        read_seg=lambda: np.asarray(dataset.load_case(name)[1][:]),
    )


def _is_foreground(key) -> bool:
    """Whether a key of nnU-Net's class_locations is that of a label or region, rather than of all annotated pixels."""
    return key != 0 and not (isinstance(key, tuple) and -1 in key)


def _slices(shape: tuple[int, ...], properties: dict, annotated: tuple[int, ...] | None) -> Sequence[int]:
    """The slices of a case (c, slices, h, w) that are worth a visit."""
    if annotated is None:
        return range(shape[1])
    return np.unique(_voxels(properties["class_locations"][annotated])[:, 1]).tolist()


def _in_slice(voxels, z: int) -> np.ndarray:
    """Those of the voxels (m, 4), each (channel, slice, row, column), that lie in slice z, which becomes slice 0."""
    voxels = _voxels(voxels)
    inside = voxels[voxels[:, 1] == z].copy()
    inside[:, 1] = 0
    return inside


def _voxels(voxels) -> np.ndarray:
    """nnU-Net stores an empty list where a class is absent."""
    return np.asarray(voxels, dtype=int).reshape(-1, 4)
