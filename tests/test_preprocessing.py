"""PaperPreprocessor: the original's normalisation, and every slice whole at the plans' size."""

import numpy as np
import pytest
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_vmunet.files.volumes import without_zeros
from nnunet_vmunet.preprocessing import PaperPreprocessor, in_window, stretched

DESCRIPTION = {"labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def managers(schemes, side=8, transpose=(0, 1, 2)):
    configuration = {
        "patch_size": [side, side],
        "spacing": [1.0, 1.0],
        "normalization_schemes": schemes,
        "use_mask_for_norm": [False] * len(schemes),
        "preprocessor_name": "PaperPreprocessor",
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    for what in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = {**RESAMPLING, "is_seg": what == "seg"}
    plans = {
        "transpose_forward": list(transpose),
        "transpose_backward": np.argsort(transpose).tolist(),
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "configurations": {"2d": configuration},
    }
    manager = PlansManager(plans)
    return manager, manager.get_configuration("2d")


def preprocessed(data, schemes, seg=None, spacing=(3, 0.7, 0.7), **options):
    properties = {"spacing": list(spacing)}
    preprocessor = PaperPreprocessor(verbose=False)
    return preprocessor.run_case_npy(data, seg, properties, *managers(schemes, **options), DESCRIPTION)


def test_a_photograph_is_stretched_over_its_channels_jointly():
    reddish = np.array([[200.0, 120], [180, 160]])[None]
    image = np.stack([reddish, reddish / 2, reddish / 4])  # 30 to 200
    data, _, _ = preprocessed(image, ["ZScoreNormalization"] * 3, side=2)
    np.testing.assert_allclose(data, (image - 30) / 170 * 255, rtol=1e-5, atol=1e-4)
    assert data.dtype == np.float32


def test_an_image_of_one_value_becomes_black():
    assert not stretched(np.full((3, 1, 2, 2), 7.0)).any()


def test_ct_is_clipped_to_the_originals_window_and_scaled():
    data, _, _ = preprocessed(np.array([[-1000.0, -125], [75, 3000]])[None, None], ["CTNormalization"], side=2)
    np.testing.assert_allclose(data, [[[[0, 0], [0.5, 1]]]], atol=1e-6)
    np.testing.assert_array_equal(in_window(np.array([-125.0, 275.0])), [0, 1])


def test_transunets_values_stay():
    values = np.random.default_rng(0).random((1, 2, 8, 8)).astype(np.float32)
    data, _, _ = preprocessed(values, ["NoNormalization"])
    np.testing.assert_array_equal(data, values)


def test_each_channel_goes_by_its_own_scheme():
    image = np.stack([np.full((1, 2, 2), 75.0), np.arange(4.0).reshape(1, 2, 2)])
    data, _, _ = preprocessed(image, ["CTNormalization", "ZScoreNormalization"], side=2)
    np.testing.assert_allclose(data[0], 0.5)
    np.testing.assert_allclose(data[1].ravel(), [0, 85, 170, 255], rtol=1e-5)


def test_borders_of_zeros_are_not_cut_off():
    image, seg = np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8), np.int8)
    image[..., 2:5, 3:6] = 1
    seg[..., 3, 4] = 1
    data, labels, properties = preprocessed(image, ["NoNormalization"], seg)
    np.testing.assert_array_equal(data, without_zeros(image.astype(np.float32)))
    np.testing.assert_array_equal(labels, seg)  # without nnU-Net's -1 for what lies outside
    assert properties["bbox_used_for_cropping"] == [[0, 1], [0, 8], [0, 8]]


@pytest.mark.parametrize("shape", [(2, 20, 12), (3, 8, 9), (1, 4, 4)], ids=str)
@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2)], ids=str)
def test_every_slice_becomes_as_large_as_the_patch_and_comes_back(shape, transpose):
    stored = tuple(np.array(shape)[np.argsort(transpose)])
    options = {"transpose": transpose, "side": 8}
    data, _, properties = preprocessed(np.random.default_rng(0).random((1, *stored)), ["NoNormalization"], **options)
    assert data.shape == (1, shape[0], 8, 8)
    back = logits_back(data, properties, *managers(["NoNormalization"], **options))
    assert back.shape == stored


def logits_back(data, properties, plans, configuration):
    """As nnU-Net's prediction takes them back to the image's own voxels."""
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        np.concatenate([data, 1 - data]), plans, configuration, plans.get_label_manager(DESCRIPTION), properties
    )
