"""Cases of one patient, by their names."""

import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.case_groups import likely_group, read_groups

PATIENTS = [f"patient{patient:03d}_slice_{number}" for patient in range(10) for number in range(1 + patient % 4)]


@pytest.mark.parametrize(
    ("pattern", "group"), [(r"patient\d+", "patient003"), (r"patient(\d+)_", "003"), ("^p.*?3", "patient003")]
)
def test_a_group_is_what_the_pattern_finds(pattern, group):
    assert read_groups(["patient003_slice_1"], pattern) == {"patient003_slice_1": group}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("case", "finds nothing in a_1"), ("x*", "finds nothing in a_1"), ("(", r"--group \( is no regular expression")],
    ids=["nowhere", "empty", "no_expression"],
)
def test_patterns_that_group_nothing_are_refused(pattern, words):
    with pytest.raises(InputError, match=words):
        read_groups(["a_1"], pattern)


@pytest.mark.parametrize(
    ("cases", "pattern"),
    [
        (PATIENTS, r"^patient\d+"),
        (["12_left", "12_right", "7_left", "7_right"], r"^\d+"),
        ([f"ISIC_{i:07d}" for i in range(9)], None),
        (["IMD002", "IMD003"], None),
        (["benign (1)", "benign (2)", "benign (3)"], None),
        (["a1_x", "a2_x", "a3_x"], None),
        (["a1_x", "a1_y", "b"], None),
        (["03398329ced0", "0b2e702f90ae"], None),
    ],
    ids=["patients", "numbers", "isic", "ph2", "busi", "one_each", "not_all", "hashes"],
)
def test_names_that_look_like_patients_are_noticed(cases, pattern):
    assert likely_group(cases) == pattern
    if pattern:
        assert len(set(read_groups(cases, pattern).values())) < len(cases)
