"""Amounts of memory and storage as Kubernetes writes them: ``512Mi``, ``16Gi``."""

from __future__ import annotations

import re

_UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_AMOUNT = re.compile(r"([1-9][0-9]*)(Mi|Gi|Ti)")


def in_bytes(amount: str) -> int:
    """Bytes of an amount.

    Raises:
        ValueError: It is not a whole number with Mi, Gi or Ti. ``16G`` and ``16`` are valid in Kubernetes, but easily
            confused, and therefore refused.
    """
    found = _AMOUNT.fullmatch(amount)
    if found is None:
        raise ValueError("needed a whole number with a unit, such as 512Mi or 16Gi")
    return int(found[1]) * _UNITS[found[2]]


def as_quantity(size_bytes: int) -> str:
    """The quantity of a number of bytes, rounded up to whole Mi, in the largest unit that keeps it whole."""
    mebibytes = -(-size_bytes // _UNITS["Mi"])
    for unit in ("Ti", "Gi"):
        if mebibytes % (_UNITS[unit] // _UNITS["Mi"]) == 0:
            return f"{mebibytes * _UNITS['Mi'] // _UNITS[unit]}{unit}"
    return f"{mebibytes}Mi"


def increased(memory: str, maximum: str | None, factor: float, kills: int) -> str:
    """The memory to request after ``kills`` attempts ran out of memory.

    Args:
        memory: Request of the first attempt.
        maximum: Upper bound of all requests; None: the request never increases.
        factor: Increase from one attempt to the next.
        kills: Earlier attempts that ran out of memory.
    """
    if maximum is None or kills == 0:
        return memory
    limit = in_bytes(maximum)
    # multiplied step by step, since factor**kills overflows a float for many kills
    wanted = float(in_bytes(memory))
    for _ in range(kills):
        wanted = min(wanted * factor, limit)
    return as_quantity(int(wanted))
