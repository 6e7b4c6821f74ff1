"""Cases that belong together, such as those of one patient, as their names say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InputError

Groups = dict[str, str]  # the group, such as the patient, of each case

# A beginning that ends in a number and goes on: patient001_frame01.
_SHARED_BEGINNING = re.compile(r"(\D*?)(\d+)[ ._-]+\S")


def read_groups(names: Sequence[str], pattern: str) -> Groups:
    """The group of each case: what `pattern` finds in its name, or what the pattern's first (...) finds.

    Raises:
        InputError: it is no regular expression, or finds nothing in a name.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"--group {pattern} is no regular expression ({error}): write it as in 'patient\\d+'"
        ) from error
    groups = {}
    for name in names:
        found = expression.search(name)
        if not found or not found[0]:
            raise InputError(f"--group {pattern} finds nothing in {name}: write it so that it does in every case")
        groups[name] = found[1] if expression.groups and found[1] is not None else found[0]
    return groups


def likely_group(names: Sequence[str]) -> str | None:
    """A pattern for --group where names look as if several cases were of one patient."""
    found = [_SHARED_BEGINNING.match(name) for name in names]
    words = {match[1] if match else None for match in found}
    beginnings = {match[0][: match.end(2)] for match in found if match}
    if None in words or len(words) > 1 or not 2 <= len(beginnings) <= len(names) / 2:
        return None
    (word,) = words
    return f"^{re.escape(word or '')}\\d+"
