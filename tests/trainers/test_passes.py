import multiprocessing
import os
import random
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_vmunet.trainers.passes import PassChain, PassLoader, SliceDataset


class MemoryDataset:
    """Stands in for nnU-Net's preprocessed dataset: {case: data (1, slices, h, w)}; label 2 is to be ignored."""

    def __init__(self, cases: dict[str, np.ndarray]) -> None:
        self.cases = cases
        self.identifiers = list(cases)

    def load_case(self, identifier):
        data = self.cases[identifier]
        seg = (data % 3).astype(np.int16)
        locations = {1: np.argwhere(seg == 1), 2: [], (-1, 0, 1): np.argwhere(seg != 2)}
        return data, seg, None, {"class_locations": locations}


def volumes() -> MemoryDataset:
    """Two volumes of 3 and 2 slices, and a photograph; each pixel holds 10·case + slice."""
    slices = {"a": [0, 1, 2], "b": [10, 11], "c": [20]}
    return MemoryDataset(
        {case: np.tile(np.float32(values).reshape(1, -1, 1, 1), (1, 1, 4, 4)) for case, values in slices.items()}
    )


def loader(batch_size=2, **kwargs) -> PassLoader:
    labels = LabelManager({"background": 0, "lesion": 1}, None)
    kwargs = {"global_batch_size": batch_size, **kwargs}
    return PassLoader(SliceDataset(volumes()), batch_size, (4, 4), (4, 4), labels, **kwargs)


def drawn(loader: PassLoader, batches: int) -> list:
    return [key for _ in range(batches) for key in loader.generate_train_batch()["keys"]]


def test_every_slice_is_a_case():
    assert SliceDataset(volumes()).identifiers == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0)]


def test_a_slice_holds_its_own_pixels_and_its_own_locations():
    dataset = SliceDataset(volumes())
    data, seg, _, properties = dataset.load_case(("b", 1))
    assert data.shape == seg.shape == (1, 1, 4, 4)
    assert np.all(data == 11)
    assert len(properties["class_locations"][1]) == 0  # 11 % 3 == 2
    locations = dataset.load_case(("b", 0))[3]["class_locations"][1]  # 10 % 3 == 1: all of its 16 pixels
    assert len(locations) == 16
    assert np.all(locations[:, 1] == 0)


def test_slices_without_annotation_are_left_out():
    # Slices hold 0 1 2, 10 11 and 20; those whose value leaves 2 when divided by 3 are ignored whole.
    dataset = SliceDataset(volumes(), annotated=(-1, 0, 1))
    assert dataset.identifiers == [("a", 0), ("a", 1), ("b", 0)]


def test_a_pass_visits_every_slice_once():
    visits = Counter(drawn(loader(), batches=3))
    assert set(visits.values()) == {1}
    assert len(visits) == 6


def test_passes_follow_each_other_in_different_orders():
    keys = drawn(loader(), batches=6)
    assert Counter(keys[:6]) == Counter(keys[6:])
    assert keys[:6] != keys[6:]


def test_batches_that_do_not_divide_a_pass_run_on_into_the_next():
    visits = Counter(drawn(loader(batch_size=4), batches=3))
    assert set(visits.values()) == {2}


def test_workers_and_ranks_share_a_pass():
    """Two ranks with two workers each: 2 + 1 images per global batch of 3."""
    together = drawn(loader(batch_size=3), batches=4)
    shares = {}
    for first_sample, batch_size in ((0, 2), (2, 1)):
        for worker in range(2):
            share = loader(batch_size, global_batch_size=3, first_sample=first_sample, num_workers=2)
            share.set_thread_id(worker)
            for batch in (worker, worker + 2):
                shares[batch, first_sample] = share.generate_train_batch()["keys"]
    assert [key for place in sorted(shares) for key in shares[place]] == together


def test_a_continued_training_takes_up_where_it_stopped():
    whole = drawn(loader(), batches=5)
    assert drawn(loader(first_batch=2), batches=3) == whole[4:]


def test_batches_are_nnunets():
    batch = loader().generate_train_batch()
    assert batch["data"].shape == (2, 1, 4, 4)
    assert batch["target"].shape == (2, 1, 4, 4)


class Lesions:
    """Stands in for nnU-Net's preprocessed dataset: images (1, 1, 40, 40) with one pixel of label 1, no two alike."""

    identifiers: ClassVar = [f"image{i}" for i in range(30)]

    def load_case(self, identifier):
        seg = np.zeros((1, 1, 40, 40), np.int16)
        seg[0, 0, 9 + self.identifiers.index(identifier) % 23, 12] = 1
        return np.float32(seg), seg, None, {"class_locations": {1: np.argwhere(seg == 1)}}


def lesion_loader(patch, batch_size, share=1 / 3, **kwargs) -> PassLoader:
    labels = LabelManager({"background": 0, "lesion": 1}, None)
    kwargs = {"global_batch_size": batch_size, "oversample_foreground_percent": share, **kwargs}
    return PassLoader(SliceDataset(Lesions()), batch_size, (patch, patch), (patch, patch), labels, **kwargs)


def share_with_foreground(loader: PassLoader, batches: int) -> float:
    return float(np.mean([loader.generate_train_batch()["target"].amax((1, 2, 3)) == 1 for _ in range(batches)]))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 12])
def test_a_third_of_the_patches_show_foreground_whatever_the_batch(batch_size):
    # Of a patch of 4×4 in 40×40, one place in a hundred holds the pixel.
    seen = share_with_foreground(lesion_loader(4, batch_size), batches=360 // batch_size)
    assert 1 / 3 <= seen < 0.4


def test_every_image_shows_its_foreground_before_long():
    loader = lesion_loader(4, batch_size=6)
    shown = set()
    for _ in range(20 * 5):  # 20 passes
        batch = loader.generate_train_batch()
        shown |= {key for key, seg in zip(batch["keys"], batch["target"], strict=True) if seg.max() == 1}
    assert len(shown) == 30


def test_ranks_and_workers_agree_on_which_patches_are_for_foreground():
    together = lesion_loader(4, batch_size=6, share=0.5)
    together.get_indices()
    wanted = [together.get_do_oversample(sample) for sample in range(6)]
    assert wanted == [False, True] * 3
    second = lesion_loader(4, batch_size=3, share=0.5, global_batch_size=6, first_sample=3)
    second.get_indices()
    assert [second.get_do_oversample(sample) for sample in range(3)] == wanted[3:]


@pytest.mark.parametrize("patch", [40, 64], ids=["as large as the image", "larger"])
def test_a_patch_that_covers_the_image_stays_where_it_is(patch):
    loader = lesion_loader(patch, batch_size=3, share=1.0)
    for _ in range(10):
        batch = loader.generate_train_batch()
        margin = (patch - 40) // 2
        for (name, _), seg in zip(batch["keys"], batch["target"], strict=True):
            row, column = np.argwhere(seg[0].numpy() == 1)[0]
            assert (row, column) == (margin + 9 + int(name.removeprefix("image")) % 23, margin + 12)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_chain_is_the_same_from_any_place(n):
    forwards = [PassChain(n)[p] for p in range(3 * n)]
    chain = PassChain(n)
    assert [chain[p] for p in reversed(range(3 * n))] == forwards[::-1]
    assert sorted(forwards[:n]) == list(range(n))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_computes_though_its_parent_did():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    patches = torch.ones(224 * 224, 2)
    patches @ torch.ones(2, 2)  # starts OpenMP's threads

    def worker():
        loader().set_thread_id(0)
        patches @ torch.ones(2, 2)  # as nnU-Net's spatial transform rotates a grid

    process = multiprocessing.get_context("fork").Process(target=worker)
    process.start()
    process.join(30)
    process.kill()
    torch.set_num_threads(threads)
    assert process.exitcode == 0


def noisy(**sample) -> dict:
    """Stands in for augmentation, which draws from the global generators of torch, NumPy and Python."""
    noise = [torch.rand(1).item(), np.random.rand(), random.random()]
    return {**sample, "image": sample["image"] + torch.tensor(noise)[:, None, None]}


def images_of(loader: PassLoader, batches: int) -> list[np.ndarray]:
    """Patch and augmentation both differ between any two."""
    loader.transforms = noisy
    return [image.numpy() for _ in range(batches) for image in loader.generate_train_batch()["data"]]


def equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def test_what_is_drawn_for_a_sample_follows_from_its_place_alone():
    whole = images_of(lesion_loader(4, batch_size=6), batches=4)
    assert len({image.tobytes() for image in whole}) == 24
    np.random.seed(7)  # whatever was drawn before
    assert equal(images_of(lesion_loader(4, batch_size=3), batches=8), whole)
    assert equal(images_of(lesion_loader(4, batch_size=6, first_batch=2), batches=2), whole[12:])
    second_worker = lesion_loader(4, batch_size=6, num_workers=2)
    second_worker.set_thread_id(1)
    assert equal(images_of(second_worker, batches=2), [*whole[6:12], *whole[18:]])
    second_rank = lesion_loader(4, batch_size=2, global_batch_size=6, first_sample=4)
    assert equal(images_of(second_rank, batches=1), whole[4:6])


def test_another_seed_draws_all_of_it_anew():
    one, other = (lesion_loader(4, batch_size=6, seed=seed) for seed in (0, 1))
    assert drawn(one, 5) != drawn(other, 5)
    assert not equal(images_of(one, 1), images_of(other, 1))
