"""Which artifacts are made of an asset: records are followed from each artifact down to what it was made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from robot_assets.lineage.audit import History
from robot_assets.lineage.errors import LineageError

_Key = tuple[str, str]


@dataclass(frozen=True)
class Carrier:
    """A version of an artifact that is made of the asset.

    Attributes:
        asset: Name of the artifact's asset.
        version: Its data version.
        is_latest: Whether it is the latest version.
        found: Version of the asset that it is made of.
    """

    asset: str
    version: str
    is_latest: bool
    found: str


def carriers(wanted: str, digits: str, artifacts: Collection[str], history: History) -> list[Carrier]:
    """The versions of ``artifacts`` that are made of ``wanted``, by name, the latest version of each first.

    Args:
        wanted: Name of the asset that is looked for.
        digits: First digits of its version; empty: any.
        artifacts: Names of the assets that are searched.
        history: Materializations and their records.
    """
    known: dict[_Key, frozenset[_Key]] = {}
    found = []
    for asset, version in history.holders(""):
        if asset not in artifacts:
            continue
        is_latest = history.latest_version(asset) == version
        for name, one in sorted(_made_of((asset, version), history, known)):
            if name == wanted and one.startswith(digits):
                found.append(Carrier(asset, version, is_latest, one))
    return sorted(found, key=lambda one: (one.asset, not one.is_latest))


def _made_of(head: _Key, history: History, known: dict[_Key, frozenset[_Key]]) -> frozenset[_Key]:
    """Every version below ``head``; each is read once, whatever the number of artifacts."""
    entered: set[_Key] = set()
    path = [(head, iter(_inputs(head, history)))]
    below: dict[_Key, set[_Key]] = {head: set()}
    while path:
        key, rest = path[-1]
        following = next(rest, None)
        if following is None:
            path.pop()
            known[key] = frozenset(below[key])
            if path:
                below[path[-1][0]] |= below[key]
            continue
        below[key].add(following)
        if following in known:
            below[key] |= known[following]
        elif following not in entered:
            entered.add(following)
            below[following] = set()
            path.append((following, iter(_inputs(following, history))))
    return known[head]


def _inputs(key: _Key, history: History) -> Iterator[_Key]:
    """The inputs of all materializations of a version: the same bytes may have been made of several versions."""
    asset, version = key
    for made in history.materializations(asset, version):
        try:
            yield from history.record(asset, made.number).inputs.items()
        except LineageError:  # a record that is missing or damaged is a problem of the audit of that version
            continue
