"""All cases at a glance."""

import numpy as np
import pytest

from nnunet_vmunet.overlay.contact_sheet import CELL, COLUMNS, ROWS, Thumbnail, contact_sheets, worst_first


def thumbnail(name: str, dice: float | None = None, colour=(120, 120, 120), shape=(60, 90)) -> Thumbnail:
    return Thumbnail(name, np.full((*shape, 3), colour, np.uint8), dice)


def names(thumbnails: list[Thumbnail]) -> list[str]:
    return [thumbnail.name for thumbnail in thumbnails]


def test_the_worst_comes_first_and_what_is_undefined_last():
    cases = {"a": 0.9, "b": np.nan, "c": 0.0, "d": 0.5, "e": 1.0}
    assert names(worst_first([thumbnail(*case) for case in cases.items()])) == ["c", "d", "a", "e", "b"]


def test_equals_come_by_name():
    assert names(worst_first([thumbnail(name, 0.5) for name in "cab"])) == ["a", "b", "c"]
    assert names(worst_first([thumbnail(name) for name in "cab"])) == ["a", "b", "c"]


def test_thumbnails_are_laid_out_in_reading_order(pixels_of):
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff"]
    thumbnails = [thumbnail(c, 0.5, [int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in colours]
    (sheet,) = contact_sheets(thumbnails, "five cases").values()
    places = [pixels_of(sheet, colour) for colour in colours]
    assert [len(place) for place in places] == [60 * 90] * 5
    top, left = np.array([place.min(axis=0) for place in places]).T
    assert top[0] == top[1] == top[2] < top[3] == top[4]
    assert left[0] == left[3] < left[1] == left[4] < left[2]


@pytest.mark.parametrize(
    ("number", "files"),
    [
        (1, ["contact_sheet.png"]),
        (25, ["contact_sheet.png"]),
        (26, ["contact_sheet_1.png", "contact_sheet_2.png"]),
        (226, [f"contact_sheet_{page:02d}.png" for page in range(1, 11)]),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_many_cases_make_pages(number, files):
    sheets = contact_sheets([thumbnail(f"case_{i}", 0.5) for i in range(number)], "cases")
    assert list(sheets) == files


def test_a_page_is_of_a_size_that_can_be_looked_at():
    thumbnails = [thumbnail(f"case_{i}", 0.5, shape=CELL) for i in range(COLUMNS * ROWS)]
    (sheet,) = contact_sheets(thumbnails, "cases").values()
    assert max(sheet.shape) < 1500
