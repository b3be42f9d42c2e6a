"""Wording of counts, lists and near misses, and outside text on a terminal."""

import difflib
from collections.abc import Iterable


def plural(count: int, noun: str, nouns: str = "") -> str:
    """``1 image``, ``3 images``; ``nouns`` is the plural where it is not ``noun`` with an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def listed(names: Iterable[str], at_most: int = 8) -> str:
    """A list such as ``a, b and 3 more``."""
    names = list(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def near_misses(name: str, known: Iterable[str], at_most: int = 3) -> list[str]:
    """The names of ``known`` that are most like ``name``, best first; case does not count."""
    of = {one.lower(): one for one in sorted(known, reverse=True)}
    return [of[found] for found in difflib.get_close_matches(name.lower(), of, n=at_most, cutoff=0.6)]


def escaped(text: str) -> str:
    r"""``text`` with its control characters, except line breaks, as ``\x1b``: outside text cannot drive a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
