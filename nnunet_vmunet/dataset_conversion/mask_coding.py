"""What the masks of a dataset mean, decided over all of them at once: one alone may be black all over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .masks import BLACK, DEEP_WHITE, GREY_STEP, WHITE, Kind, MaskCoding, MaskSurvey, counts_text, hex_colour

_MOST_LABELS = 254  # nnU-Net's label images are read as uint8, and the ignore label needs a number too
_MOST_UNNAMED = 32  # more values than that are rather shades of grey than labels
_BACKGROUND = "background"

# Of each mask: how many pixels have which value.
Seen = list[tuple[Path, dict[int, int]]]


@dataclass(frozen=True)
class MaskOptions:
    """What the user says about the masks.

    labels: "polyp=1,tool=2" names grey values; "12" says that there are labels 1 to 12.
    colours: "polyp=#ff0000,tool=#00ff00". ignore: a grey value or a colour, to be left out of training.
    threshold: the grey value from which on a pixel is foreground.
    """

    labels: str | None = None
    colours: str | None = None
    threshold: int | None = None
    ignore: str | None = None


def decide_coding(surveys: Sequence[MaskSurvey], options: MaskOptions) -> tuple[MaskCoding, str]:
    """The meaning of all masks, and a line that says it.

    Raises:
        InputError: the options contradict each other or the masks, or the masks could mean several things.
    """
    if options.colours and (options.labels or options.threshold is not None):
        raise InputError("--colours gives the labels by itself: leave out --labels and --threshold")
    if options.colours:
        return _by_colours(surveys, options)
    coloured = next((survey for survey in surveys if survey.has_colours), None)
    if options.threshold is not None:
        if coloured:
            raise InputError(f"{coloured.path} is a mask with colours: give --colours instead of --threshold")
        return _by_threshold(surveys, options, options.threshold)
    return _by_palette(surveys, options) if coloured else _by_values(surveys, options)


def _by_colours(surveys: Sequence[MaskSurvey], options: MaskOptions) -> tuple[MaskCoding, str]:
    values = {_BACKGROUND: BLACK, **_named_values(options.colours or "", "--colours", _colour)}
    ignored = _ignored(options, lambda text: _colour(text) if text.startswith("#") else _grey(text) * GREY_STEP)
    _refuse_two_meanings(values, ignored, hex_colour)
    seen = [(survey.path, _as_colours(survey)) for survey in surveys]
    _refuse_unknown(surveys, seen, {*values.values(), *ignored}, hex_colour, "--colours 'NAME=#rrggbb,...'")
    _refuse_absent(seen, ignored, options)
    _refuse_nothing_to_learn(seen, values, ignored)
    order = [name for name in values if name != _BACKGROUND]  # as the user gave them
    coding = _coding("colours", values, order, ignored)
    return coding, f"Masks: colours, {_meaning(coding, hex_colour)}"


def _as_colours(survey: MaskSurvey) -> dict[int, int]:
    if survey.has_colours:
        return survey.counts
    if max(survey.counts) > WHITE:
        raise InputError(f"{survey.path} holds grey values beyond 255: for --colours save it with 8 bits")
    return {value * GREY_STEP: count for value, count in survey.counts.items()}


def _by_palette(surveys: Sequence[MaskSurvey], options: MaskOptions) -> tuple[MaskCoding, str]:
    """Masks as drawn with a palette, such as those of Pascal VOC: the index is the label, the colour is for the eye."""
    drawn: dict[int, tuple[int, Path]] = {}
    for survey in surveys:
        if survey.palette is None:
            if set(survey.counts) != {BLACK}:
                raise _needs_colours(next(s for s in surveys if s.has_colours))
            continue
        for index, colour in survey.palette.items():
            earlier, path = drawn.setdefault(index, (colour, survey.path))
            if earlier != colour:
                raise InputError(
                    f"{survey.path} draws index {index} of its palette in {hex_colour(colour)}, {path} in "
                    f"{hex_colour(earlier)}: say what the colours mean, as in --colours 'polyp=#ff0000,tool=#00ff00'"
                )
    background, path = drawn.get(0, (BLACK, Path()))
    if background != BLACK:
        raise InputError(
            f"{path} draws index 0 of its palette in {hex_colour(background)}, not in black: say what the colours "
            "mean, as in --colours 'background=#ffffff,polyp=#ff0000'"
        )
    seen = [(s.path, s.counts if s.palette is None else s.index_counts) for s in surveys]
    coding, _ = _by_numbers(surveys, seen, options, "palette indices")
    return coding, f"Masks: palettes, whose indices are the labels, {_meaning(coding, str)}"


def _needs_colours(survey: MaskSurvey) -> InputError:
    others = f" and others ({survey.others} pixels), as after JPEG compression" if survey.others else ""
    return InputError(
        f"{survey.path} is a mask with colours, {counts_text(survey.counts, hex_colour)}{others}: say what "
        "they mean, as in --colours 'polyp=#ff0000,tool=#00ff00'; black is the background"
    )


def _by_values(surveys: Sequence[MaskSurvey], options: MaskOptions) -> tuple[MaskCoding, str]:
    white_of_one_bit, seen = _grey_values(surveys)
    return _by_numbers(surveys, seen, options, "grey values", white_of_one_bit)


def _grey_values(surveys: Sequence[MaskSurvey]) -> tuple[int, Seen]:
    """Of 1-bit masks, whose white has no number, as many are 1 as the others have it: the number, and all values."""
    others = set().union(*(survey.counts for survey in surveys if not survey.is_one_bit))
    if 1 not in others:
        return WHITE, [(survey.path, survey.counts) for survey in surveys]
    return 1, [(s.path, {min(v, 1): n for v, n in s.counts.items()} if s.is_one_bit else s.counts) for s in surveys]


def _by_numbers(
    surveys: Sequence[MaskSurvey], seen: Seen, options: MaskOptions, kind: Kind, white_of_one_bit: int = WHITE
) -> tuple[MaskCoding, str]:
    ignored = _ignored(options, _grey)
    found = set(_total(seen)) - ignored
    white = next((white for white in (1, WHITE, DEEP_WHITE) if found <= {BLACK, white}), None)
    if options.labels is not None:
        values = _given_values(options.labels, white)
        _refuse_two_meanings(values, ignored, str)
        _refuse_unknown(surveys, seen, {*values.values(), *ignored}, str, "--labels 'NAME=VALUE,...'")
    elif white is not None:
        values = {_BACKGROUND: BLACK, "label 1": white}
    else:
        _refuse_what_may_mean_several_things(surveys, seen, found, kind)
        values = {_BACKGROUND: BLACK, **{f"label {value}": value for value in sorted(found - {BLACK})}}
    _refuse_absent(seen, ignored, options)
    _refuse_nothing_to_learn(seen, values, ignored)
    order = sorted((name for name in values if name != _BACKGROUND), key=values.__getitem__)
    coding = _coding(kind, values, order, ignored, white_of_one_bit)
    return coding, f"Masks: {_meaning(coding, str)}"


def _given_values(labels: str, white: int | None = None) -> dict[str, int]:
    """What --labels says, with the background."""
    if labels.strip().isdecimal():
        if not 1 <= int(labels) <= _MOST_LABELS:
            raise InputError(f"--labels {labels}: give 1 to {_MOST_LABELS} labels")
        values = {f"label {value}": value for value in range(1, int(labels) + 1)}
    else:
        values = _named_values(labels, "--labels", _grey)
    named = [name for name in values if name != _BACKGROUND]
    if white is not None and len(named) == 1 and values[named[0]] == 1:
        values[named[0]] = white  # the number of the label, where the masks are black and white
    return {_BACKGROUND: BLACK, **values}


def _refuse_what_may_mean_several_things(
    surveys: Sequence[MaskSurvey], seen: Seen, found: set[int], kind: Kind
) -> None:
    if found == {BLACK, 1, WHITE}:
        one, white = (next(path for path, counts in seen if value in counts) for value in (1, WHITE))
        raise InputError(
            f"{one} holds the value 1 and {white} 255: give --threshold 1 if both are foreground, or --ignore 255 if "
            "255 is to be left out"
        )
    is_lossy = any(survey.is_lossy and set(survey.counts) - {BLACK, WHITE} for survey in surveys)
    others = sum(survey.others for survey in surveys)
    if found == set(range(len(found))) and len(found) <= _MOST_UNNAMED + 1 and not is_lossy and not others:
        return
    total = _total(seen)
    share = (_grey_pixels(total) + others) / (sum(total.values()) + others)
    worst, _ = max(seen, key=lambda one: _grey_pixels(one[1]))
    threshold = 128 if max(found) <= WHITE else 32768
    if is_lossy or others or len(found) > _MOST_UNNAMED + 1:
        consecutive = max(found) + 1 == len(found) <= _MOST_LABELS + 1 and not is_lossy
        labels = f", or --labels {max(found)} if these are {max(found)} labels" if consecutive else ""
        raise InputError(
            f"{worst} is not black and white: {share:.2%} of all masks' pixels are grey, as after JPEG compression or "
            f"resizing: give --threshold {threshold} to take that value and above as foreground{labels}"
        )
    names = ",".join(f"NAME={value}" for value in sorted(found - {BLACK})[:3])
    ignore = ", --ignore 255 if 255 is to be left out" if WHITE in found and len(found) > 3 else ""
    grey = f", --threshold {threshold} if they should be black and white but for {share:.2%} grey pixels"
    raise InputError(
        f"{worst} is neither black and white nor a label map without a gap, the masks hold {counts_text(total)}: give "
        f"--labels '{names}' (and background=VALUE if that is not 0){ignore}{grey if kind == 'grey values' else ''}"
    )


def _grey_pixels(counts: dict[int, int]) -> int:
    return sum(count for value, count in counts.items() if value not in (BLACK, WHITE, DEEP_WHITE))


def _by_threshold(surveys: Sequence[MaskSurvey], options: MaskOptions, threshold: int) -> tuple[MaskCoding, str]:
    if not 1 <= threshold <= DEEP_WHITE:
        raise InputError(f"--threshold {threshold}: give a grey value from 1 to {DEEP_WHITE}, such as 128")
    names = [name for name in _given_values(options.labels or "1") if name != _BACKGROUND]
    if len(names) != 1:
        raise InputError(f"--labels {options.labels}: --threshold makes one label, name one")
    for survey in surveys:
        if set(survey.counts) == {BLACK, 1} and threshold > 1 and not survey.is_lossy:
            raise InputError(
                f"{survey.path} holds 0 and 1, all of it below the threshold {threshold}: save it with 0 and 255, or "
                "give --threshold 1"
            )
    ignored = _ignored(options, _grey)
    seen = [(survey.path, survey.counts) for survey in surveys]
    _refuse_absent(seen, ignored, options)
    total = _total(seen)
    kept = {value >= threshold for value in total if value not in ignored}
    if kept != {True, False}:
        where = "at or above" if True not in kept else "below"
        raise InputError(f"--threshold {threshold}: no pixel is {where} it, the masks hold {counts_text(total)}")
    grey = sum(count for value, count in total.items() if value not in (BLACK, 1, WHITE, DEEP_WHITE, *ignored))
    coding = MaskCoding(
        {_BACKGROUND: 0, names[0]: 1, **({"ignore": 2} if ignored else {})},
        numbers=dict.fromkeys(ignored, 2),
        threshold=threshold,
    )
    grey_text = f"{grey} of {sum(total.values())} pixels ({grey / sum(total.values()):.2%}) were grey"
    return coding, f"Masks: {threshold} and above is {names[0]}; {grey_text}"


def _coding(
    kind: Kind, values: dict[str, int], order: list[str], ignored: set[int], white_of_one_bit: int = WHITE
) -> MaskCoding:
    if not 1 <= len(order) <= _MOST_LABELS:
        raise InputError(f"{len(order)} labels besides the background: nnU-Net takes 1 to {_MOST_LABELS}")
    names = {_BACKGROUND: 0, **{name: number for number, name in enumerate(order, 1)}}
    if ignored:
        names["ignore"] = len(names)
    numbers = {values[name]: names[name] for name in (_BACKGROUND, *order)}
    numbers |= dict.fromkeys(ignored, names.get("ignore", 0))
    return MaskCoding(names, kind, numbers, white_of_one_bit=white_of_one_bit)


def _meaning(coding: MaskCoding, text: Callable[[int], str]) -> str:
    """Such as "0 is background, 128 is disc (label 1)"."""
    names = {number: name for name, number in coding.names.items()}
    words = [
        f"{text(value)} is {names[number]}"
        + (f" (label {number})" if number and names[number] != f"label {number}" else "")
        for value, number in sorted(coding.numbers.items(), key=lambda item: item[1])
    ]
    return ", ".join(words)


def _total(seen: Seen) -> dict[int, int]:
    total: Counter[int] = Counter()
    for _, counts in seen:
        total.update(counts)
    return dict(total)


def _named_values(text: str, option: str, read: Callable[[str], int]) -> dict[str, int]:
    """Of "polyp=1,tool=2"."""
    values: dict[str, int] = {}
    for word in text.split(","):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise InputError(f"{option} {text}: write NAME=VALUE, as in --labels 'polyp=1,tool=2'")
        if name == "ignore":
            raise InputError(f"{option} {text}: what is to be left out has an option of its own, --ignore {value}")
        if name in values:
            raise InputError(f"{option} {text}: {name} is there twice, name it once")
        values[name] = read(value)
    for shared, times in Counter(values.values()).items():
        if times > 1:
            same = " and ".join(name for name, number in values.items() if number == shared)
            raise InputError(f"{option} {text}: {same} have the same value, give each its own")
    return values


def _colour(text: str) -> int:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise InputError(f"{text} is no colour: write it as #ff0000, red, green and blue in two digits each")
    return int(text[1:], 16)


def _grey(text: str) -> int:
    if text.startswith("#"):
        red, green, blue = _colour(text).to_bytes(3, "big")
        if red != green or green != blue:
            raise InputError(f"{text}: these masks have no colours, give a grey value")
        return red
    if not text.isdecimal() or int(text) > DEEP_WHITE:
        raise InputError(f"{text} is no grey value: give a number from 0 to {DEEP_WHITE}")
    return int(text)


def _refuse_two_meanings(values: dict[str, int], ignored: set[int], text: Callable[[int], str]) -> None:
    for name, value in values.items():
        if value in ignored:
            raise InputError(f"{text(value)} is both {name} and --ignore: give one of the two another value")
        if value == values[_BACKGROUND] and name != _BACKGROUND:
            raise InputError(
                f"{text(value)} is the background, not {name}: say what the background is, as background=..."
            )


def _ignored(options: MaskOptions, read: Callable[[str], int]) -> set[int]:
    return {read(options.ignore)} if options.ignore is not None else set()


def _refuse_absent(seen: Seen, ignored: set[int], options: MaskOptions) -> None:
    total = _total(seen)
    if any(value not in total for value in ignored):
        raise InputError(f"--ignore {options.ignore}: no mask holds that, leave it out or correct it")


def _refuse_unknown(
    surveys: Sequence[MaskSurvey], seen: Seen, known: Collection[int], text: Callable[[int], str], option: str
) -> None:
    for survey, (path, counts) in zip(surveys, seen, strict=True):
        unknown = {value: count for value, count in counts.items() if value not in known}
        if unknown or survey.others:
            others = f" and {survey.others} pixels of others" if survey.others else ""
            raise InputError(f"{path} also holds {counts_text(unknown, text)}{others}: name all of it with {option}")


def _refuse_nothing_to_learn(seen: Seen, values: dict[str, int], ignored: set[int]) -> None:
    total = set(_total(seen)) - ignored
    if total <= {values[_BACKGROUND]}:
        raise InputError(f"{seen[0][0]} and all other masks hold background alone: there is nothing to learn from them")
    if len(total) == 1:
        raise InputError(
            f"{seen[0][0]} and all other masks hold the same value in every pixel, {total.pop()}: give masks that have "
            "a background"
        )
