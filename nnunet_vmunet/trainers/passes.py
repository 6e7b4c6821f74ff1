"""Passes over the training data: an epoch of the paper sees every image, or every slice of every volume, once.

nnU-Net draws random cases instead, with replacement. Here the batches are consecutive pieces of an endless chain of
shuffled passes. What stands at a position of the chain depends on nothing else, so worker processes, DDP ranks and a
continued training agree on it without talking to each other.
"""

from collections.abc import Sequence

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from ..files.processes import end_with_parent

SEED = 2402_02491


class SliceDataset:
    """A preprocessed nnU-Net dataset in which every slice is a case of its own, named (case, slice).

    Args:
        dataset: nnU-Net's; a photograph has one slice.
        annotated: nnU-Net's key of all annotated pixels if the dataset has an ignore label, else None. Slices without
            any such pixel teach nothing and are left out.
    """

    def __init__(self, dataset: nnUNetBaseDataset, annotated: tuple[int, ...] | None = None) -> None:
        self.dataset = dataset
        self.identifiers = [
            (case, z) for case in dataset.identifiers for z in _slices(*_shape_and_properties(dataset, case), annotated)
        ]

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

    Args:
        data, batch_size and the rest: as nnU-Net's; `batch_size` is this process's share.
        global_batch_size: of all DDP processes together.
        first_sample: position of this process's share in the global batch.
        first_batch: where in the chain to start, in batches: a continued training's iterations so far.
        num_workers: worker processes that draw alternate batches.
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
        **kwargs,
    ) -> None:
        super().__init__(data, batch_size, *args, **kwargs)
        self.chain = PassChain(len(data.identifiers))
        self.global_batch_size = global_batch_size
        self.first_sample = first_sample
        self.first_batch = first_batch
        self.num_workers = num_workers
        self.batches_drawn = 0

    def set_thread_id(self, thread_id: int) -> None:
        """batchgenerators calls this in each worker process, first of all."""
        super().set_thread_id(thread_id)
        # The trainer's own process has built the network by now, on OpenMP threads that its forks wait for in vain.
        torch.set_num_threads(1)
        torch.seed()  # flips draw from torch, whose generator every fork inherits in the same state
        end_with_parent()

    def get_indices(self) -> Sequence[tuple[str, int]]:
        """(case, slice) of this process's share of the next batch that this worker draws."""
        batch = self.first_batch + self.batches_drawn * self.num_workers + self.thread_id
        self.batches_drawn += 1
        start = batch * self.global_batch_size + self.first_sample
        return [self.indices[self.chain[position]] for position in range(start, start + self.batch_size)]


class PassChain:
    """Shuffled passes over n items, one after the other for ever: position p lies in pass p // n."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._current = -1
        self._order = np.arange(n)

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.n)
        if number != self._current:
            self._current = number
            self._order = np.random.default_rng([SEED, number]).permutation(self.n)
        return int(self._order[place])


def _shape_and_properties(dataset: nnUNetBaseDataset, case: str) -> tuple[tuple[int, ...], dict]:
    data, _, _, properties = dataset.load_case(case)
    return data.shape, properties


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
