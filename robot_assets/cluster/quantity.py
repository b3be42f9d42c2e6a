"""Amounts of memory and storage as Kubernetes writes them: ``512Mi``, ``16Gi``."""

from __future__ import annotations

import re

_UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_AMOUNT = re.compile(r"([1-9][0-9]*)(Mi|Gi|Ti)")


def in_bytes(amount: str) -> int:
    """Bytes of an amount.

    Raises:
        ValueError: It is not a whole number with Mi, Gi or Ti. ``16G`` and ``16`` are valid to Kubernetes and
            easily mistaken for one another, so they are refused.
    """
    found = _AMOUNT.fullmatch(amount)
    if found is None:
        raise ValueError("needed a whole number with a unit, such as 512Mi or 16Gi")
    return int(found[1]) * _UNITS[found[2]]


def in_words(size_bytes: int) -> str:
    """An amount of bytes, rounded up to whole Mi, in the largest unit that keeps it whole."""
    mebibytes = -(-size_bytes // _UNITS["Mi"])
    for unit in ("Ti", "Gi"):
        if mebibytes % (_UNITS[unit] // _UNITS["Mi"]) == 0:
            return f"{mebibytes * _UNITS['Mi'] // _UNITS[unit]}{unit}"
    return f"{mebibytes}Mi"


def grown(memory: str, ceiling: str | None, factor: float, kills: int) -> str:
    """The memory to ask for after ``kills`` attempts were killed for want of it.

    Args:
        memory: What the first attempt asks for.
        ceiling: What no attempt asks more than; None when all ask for the same.
        factor: How much more each further attempt asks for.
        kills: Earlier attempts that ran out of memory.
    """
    if ceiling is None or kills == 0:
        return memory
    most = in_bytes(ceiling)
    # stop multiplying at the ceiling: factor**kills overflows a float for a silly number of kills
    wanted = float(in_bytes(memory))
    for _ in range(kills):
        wanted = min(wanted * factor, most)
    return in_words(int(wanted))
