"""Which artifacts are made of an asset: records are followed from each artifact down to what it was made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from robot_assets.lineage.audit import History
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.record import Record

Key = tuple[str, str]
"""Name and data version of an asset."""


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
    ancestry = Ancestry(history)
    found = []
    for asset, version in history.holders(""):
        if asset not in artifacts:
            continue
        is_latest = history.latest_version(asset) == version
        for name, one in sorted(ancestry.below((asset, version))):
            if name == wanted and one.startswith(digits):
                found.append(Carrier(asset, version, is_latest, one))
    return sorted(found, key=lambda one: (one.asset, not one.is_latest))


class Ancestry:
    """What versions are made of, by their records.

    Args:
        history: Materializations and their records; each record is read once.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._records: dict[Key, tuple[Record, ...]] = {}
        self._known: dict[Key, frozenset[Key]] = {}

    def records(self, key: Key) -> tuple[Record, ...]:
        """The records of all materializations of a version; the same bytes may have been made several times."""
        if key not in self._records:
            self._records[key] = tuple(self._read(*key))
        return self._records[key]

    def below(self, head: Key) -> frozenset[Key]:
        """Every version that ``head`` was made of; each is read once, whatever the number of artifacts."""
        if head in self._known:
            return self._known[head]
        entered: set[Key] = set()
        path = [(head, iter(self._inputs(head)))]
        below: dict[Key, set[Key]] = {head: set()}
        while path:
            key, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                self._known[key] = frozenset(below[key])
                if path:
                    below[path[-1][0]] |= below[key]
                continue
            below[key].add(following)
            if following in self._known:
                below[key] |= self._known[following]
            elif following not in entered:
                entered.add(following)
                below[following] = set()
                path.append((following, iter(self._inputs(following))))
        return self._known[head]

    def _inputs(self, key: Key) -> Iterator[Key]:
        for record in self.records(key):
            yield from record.inputs.items()

    def _read(self, asset: str, version: str) -> Iterator[Record]:
        for made in self._history.materializations(asset, version):
            try:
                yield self._history.record(asset, made.number)
            except LineageError:  # a record that is missing or damaged is a problem of the audit of that version
                continue
