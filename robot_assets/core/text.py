"""Wording of counts and lists."""

from collections.abc import Iterable


def plural(count: int, noun: str, nouns: str = "") -> str:
    """``1 image``, ``3 images``; ``nouns`` is the plural where it is not ``noun`` with an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def listed(names: Iterable[str], at_most: int = 8) -> str:
    """A list such as ``a, b and 3 more``."""
    names = list(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
