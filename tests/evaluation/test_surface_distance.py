"""Surfaces and distances, against geometry known by hand and against every pair of voxels."""

import numpy as np
import pytest

from nnunet_vmunet.evaluation.surface_distance import hd95, surface


def cube(start: tuple[int, int, int], side: int, shape=(20, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + side) for s in start)] = True
    return mask


def test_a_cubes_surface_is_the_cube_without_its_inside():
    assert len(surface(cube((5, 5, 5), 4))) == 4**3 - 2**3


def test_a_voxel_that_touches_background_by_an_edge_alone_is_inside():
    mask = np.ones((5, 5), bool)
    mask[0, 0] = False
    assert [1, 1] not in surface(mask).tolist()
    assert [0, 1] in surface(mask).tolist()


def test_the_images_border_is_surface():
    assert len(surface(np.ones((3, 3, 3), bool))) == 26


@pytest.mark.parametrize("distance", [1, 3, 7])
def test_two_single_voxels(distance):
    assert hd95(surface(cube((2, 2, 2), 1)), surface(cube((2, 2 + distance, 2), 1))) == distance


@pytest.mark.parametrize(("axis", "expected"), [(0, 9.0), (1, 1.5), (2, 0.75)], ids="zyx")
def test_each_axis_has_its_own_spacing(axis, expected):
    start = [2, 2, 2]
    start[axis] += 3
    assert hd95(surface(cube((2, 2, 2), 1)), surface(cube(tuple(start), 1)), (3, 0.5, 0.25)) == expected


def test_a_diagonal_is_measured_as_the_crow_flies():
    assert hd95(surface(cube((2, 2, 2), 1)), surface(cube((2, 5, 6), 1))) == 5


def test_cubes_that_are_k_apart():
    # Sides of 2, facing each other over k: half of the voxels are k + 1 away and half k + 2, in both directions.
    k = 4
    assert hd95(surface(cube((2, 2, 2), 2)), surface(cube((2, 2, 4 + k), 2))) == k + 2


def test_the_95th_percentile_forgives_a_twentieth_and_pools_both_directions():
    line = np.zeros((1, 1, 120), bool)
    line[..., :100] = True
    longer = line.copy()
    longer[..., :105] = True
    # 205 distances, five of them 1 to 5: fewer than one in twenty.
    assert hd95(surface(line), surface(longer)) == 0
    longer[..., :111] = True
    # 211 distances: 200 of 0 and 1 to 11. The 95th percentile lies at index 199.5.
    assert hd95(surface(line), surface(longer)) == 0.5


@pytest.mark.parametrize("spacing", [None, (1, 1, 1), (3.0, 0.78, 0.78)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_random_masks_agree_with_every_pair_of_voxels(seed, spacing, brute_force):
    a, b = np.random.RandomState(seed).rand(2, 7, 9, 8) > 0.8
    ours = hd95(surface(a), surface(b), spacing)
    assert ours == pytest.approx(brute_force(a, b, spacing or (1, 1, 1)), rel=1e-14)


def test_voxel_distances_equal_those_of_a_distance_transform_exactly():
    from scipy.ndimage import binary_erosion, distance_transform_edt

    a, b = np.random.RandomState(9).rand(2, 12, 30, 31) > 0.97
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    pooled = [distance_transform_edt(~edges[1])[edges[0]], distance_transform_edt(~edges[0])[edges[1]]]
    assert hd95(surface(a), surface(b)) == np.percentile(np.hstack(pooled), 95)
