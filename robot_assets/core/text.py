"""Wording of counts."""


def plural(count: int, noun: str, nouns: str = "") -> str:
    """``1 image``, ``3 images``; ``nouns`` is the plural where it is not ``noun`` with an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
