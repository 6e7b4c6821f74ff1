"""Finding the parts of a release in what mirrors make of it."""

import os

import pytest

from nnunet_vmunet.dataset_conversion.release_folders import find_folder, folders_in, matching_files, refuse_unpaired
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.listing import by_case


def text_files(folder):
    return matching_files(folder, r".*\.txt")


@pytest.fixture
def make(tmp_path):
    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return make


def test_folders_down_to_a_depth(make, tmp_path):
    make("a/b/c/file", ".hidden/file", "__MACOSX/file")
    assert folders_in(tmp_path, 2) == [tmp_path, tmp_path / "a", tmp_path / "a/b"]


def test_a_folder_nested_in_itself_is_found_where_the_files_are(make, tmp_path):
    make("Part/Part/1.txt")
    assert find_folder(folders_in(tmp_path, 3), "part", text_files) == tmp_path / "Part" / "Part"


def test_an_empty_folder_is_found_too(make, tmp_path):
    make("part/picture.png")
    assert find_folder(folders_in(tmp_path, 3), "part", text_files) == tmp_path / "part"


def test_none_without_such_a_folder(tmp_path):
    assert find_folder([tmp_path], "part", text_files) is None


def test_two_of_them_are_refused(make, tmp_path):
    make("a/part/1.txt", "b/part/1.txt")
    with pytest.raises(InputError, match=r"a/part and .*b/part are the same part of the release: remove one of them"):
        find_folder(folders_in(tmp_path, 3), "part", text_files)


def test_matching_files_are_sorted_and_match_whole(make, tmp_path):
    make("img2.NII", "img1.nii", "img1.nii.bak", "._img1.nii", "img3.nii/file")
    matches = matching_files(tmp_path, r"img(\d+)\.nii")
    assert [(match[1], file.name) for match, file in matches] == [("1", "img1.nii"), ("2", "img2.NII")]


def test_an_unreadable_folder_is_told(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)  # root may read anything
    with pytest.raises(InputError, match=f"{tmp_path} cannot be read, change its permissions"):
        matching_files(tmp_path, ".*")


def test_a_case_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"x\.nii and .*x\.nii\.gz are the same case: remove one of them"):
        by_case([("x", tmp_path / "x.nii"), ("x", tmp_path / "x.nii.gz")])


def test_files_without_partners_are_counted(tmp_path):
    files = {name: tmp_path / name for name in "abc"}
    with pytest.raises(InputError, match=r"b has no mask \(and so have 1 others\)"):
        refuse_unpaired(files, {"a": tmp_path}, "no mask")
