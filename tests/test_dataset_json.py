"""What dataset.json means: held against nnU-Net's own LabelManager, and refused where nnU-Net could not mean it."""

import json
from pathlib import Path

import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_vmunet.dataset_json import first_dataset_json, parse_dataset_json, read_dataset_json
from nnunet_vmunet.errors import InputError

FILE = Path("Dataset007_Heart/dataset.json")
CHANNELS = {"channel_names": {"0": "MR"}}

MEANT = {
    "binary": {"labels": {"background": 0, "lesion": 1}},
    "numbers as strings": {"labels": {"background": "0", "left": "2", "right": "1"}},
    "one number in a list": {"labels": {"background": 0, "lesion": [1]}},
    "ignore label": {"labels": {"background": 0, "lesion": 1, "ignore": 2}},
    "regions": {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]},
    "regions and one plain label": {
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
    },
    "regions and ignore label": {
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
        "regions_class_order": [1, 2, 3],
    },
    "117 classes": {"labels": {"background": 0, **{f"organ {i}": i for i in range(1, 118)}}},
}


@pytest.mark.parametrize("content", MEANT.values(), ids=MEANT)
def test_means_what_nnunet_means(content):
    found = parse_dataset_json({**CHANNELS, **content}, FILE)
    meant = LabelManager(content["labels"], content.get("regions_class_order"))
    assert list(found.values) == meant.all_labels
    assert found.has_regions == meant.has_regions
    assert found.ignore_label == meant.ignore_label
    assert found.num_outputs == meant.num_segmentation_heads
    if meant.has_regions:
        assert [set(values) for values in found.labels.values()] == [
            set(region if isinstance(region, tuple) else [region]) for region in meant.foreground_regions
        ]
    found.refuse_untrainable()


def test_old_style_is_read_and_not_trained():
    found = parse_dataset_json({"modality": {"0": "MRI"}, "labels": {"0": "none", "1": "liver", "2": "spleen"}}, FILE)
    assert found.labels == {"liver": (1,), "spleen": (2,)}
    assert found.channels == ("MRI",)
    with pytest.raises(InputError, match=r'write "labels": \{"background": 0, "liver": 1, "spleen": 2\}'):
        found.refuse_untrainable()


REFUSED = {
    "no dictionary": ({"labels": ["lesion"]}, r"holds \"labels\": \['lesion'\]"),
    "no background": ({"labels": {"lesion": 1}}, "names no background"),
    "background elsewhere": ({"labels": {"background": 1, "lesion": 0}}, "gives the background as 1"),
    "a fraction": ({"labels": {"background": 0, "lesion": 1.5}}, 'gives label "lesion" as 1.5'),
    "true": ({"labels": {"background": 0, "lesion": True}}, 'gives label "lesion" as True'),
    "a word": ({"labels": {"background": 0, "lesion": "one"}}, "gives label \"lesion\" as 'one'"),
    "no number": ({"labels": {"background": 0, "lesion": []}}, r'gives label "lesion" as \[\]'),
    "beyond 255": ({"labels": {"background": 0, "lesion": 256}}, "from 0 to 255"),
    "ignore in between": ({"labels": {"background": 0, "ignore": 1, "lesion": 2}}, "gives the ignore label as 1"),
    "regions without order": ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, "2 regions and 0 numbers"),
    "an order of words": (
        {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": ["a", "b"]},
        "give a list of numbers",
    ),
    "channels in a list": ({"channel_names": ["R", "G", "B"]}, "nnU-Net wants a dictionary"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_nothing_can_mean_is_refused_with_the_file(content, message):
    with pytest.raises(InputError, match=message) as error:
        parse_dataset_json(content, FILE)
    assert str(FILE) in str(error.value)


NOT_TRAINED = {
    "no channels": ({"labels": {"background": 0, "lesion": 1}}, "names no channels"),
    "background only": ({**CHANNELS, "labels": {"background": 0}}, "names no label but the background"),
    "a gap": ({**CHANNELS, "labels": {"background": 0, "lesion": 255}}, "has a label 255 and none 1"),
    "regions of strings": (
        {**CHANNELS, "labels": {"background": 0, "a": ["1", "2"], "b": "2"}, "regions_class_order": [1, 2]},
        "take them off",
    ),
}


@pytest.mark.parametrize(("content", "message"), NOT_TRAINED.values(), ids=NOT_TRAINED)
def test_what_nnunet_cannot_train_is_refused_before(content, message):
    found = parse_dataset_json(content, FILE)
    with pytest.raises(InputError, match=message):
        found.refuse_untrainable()


def test_the_first_of_several_folders_counts(tmp_path):
    for folder in ("empty", "first", "second"):
        (tmp_path / folder).mkdir()
    for folder, name in (("first", "liver"), ("second", "lesion")):
        (tmp_path / folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, name: 1}}))
    found = first_dataset_json(tmp_path / "empty", tmp_path / "first", tmp_path / "second")
    assert found is not None
    assert found.labels == {"liver": (1,)}
    assert found.file == tmp_path / "first" / "dataset.json"
    assert first_dataset_json(tmp_path / "empty") is None


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": ')
    with pytest.raises(InputError, match=r"dataset\.json cannot be read, copy it again"):
        read_dataset_json(tmp_path / "dataset.json")


@pytest.mark.parametrize("ending", [".jpg", ".JPEG"])
def test_masks_may_not_be_written_as_jpeg(ending):
    content = {**CHANNELS, "labels": {"background": 0, "lesion": 1}, "file_ending": ending}
    with pytest.raises(InputError, match=rf'"file_ending": "{ending}", and JPEG changes the labels.*convert pairs'):
        parse_dataset_json(content, FILE).refuse_untrainable()
