"""Which version a person means: by the name of an asset, by files on a disk, or by a hash.

An asset's version is the hash of a whole directory. A robot may have no more than one file of it, so a file is also
looked up in the listings of all versions of assets that are known by such a file, the latest first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import StoreError
from robot_assets.core.text import near_misses
from robot_assets.lineage.audit import History
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.store import Store
from robot_assets.store.artifact import is_directory
from robot_assets.store.cache import Cache
from robot_assets.store.reading import read_tree
from robot_assets.store.remote import Remote

_T = TypeVar("_T")
DIGITS_MIN = 6
_HASH = re.compile(rf"[0-9a-f]{{{DIGITS_MIN},32}}(\.dir)?")
_LISTED_AT_MOST = 8


@dataclass(frozen=True)
class Found:
    """A version of an asset.

    Attributes:
        asset: Name of the asset.
        version: Its data version.
        note: How the given files differ from this version; empty when they do not.
    """

    asset: str
    version: str
    note: str = ""


def resolve(
    what: str,
    graph: Mapping[str, Stage],
    history: History,
    store: Store,
    traits: Callable[[str], AssetTraits],
    accompanying: Collection[str] = (),
) -> Found:
    """The version that ``what`` names.

    Args:
        what: An asset (its latest version is meant), a path to a directory or to a file by which its asset is known, or
            a data version or the md5 of such a file: all of it, or at least 6 digits.
        graph: Stages by name.
        history: Materializations and observations.
        store: Has the listings of the versions.
        traits: What is known of an asset by its name; ``files`` are patterns of the files by which it is known.
        accompanying: Names of files that may be beside an artifact without being a part of it.

    Raises:
        LineageError: It names nothing, or several versions.
    """
    version = history.latest_version(what) if _may_be_asset(what) else None
    if version is not None:
        return Found(what, version)
    known = _Known(graph, history, store, traits)
    path = Path(what)
    if path.is_dir():
        return _of_directory(path, known, accompanying)
    if path.is_file():
        return _of_file(path, known)
    if _HASH.fullmatch(what.lower()):
        return _of_hash(what.lower(), known)
    raise _unknown(what, known)


@dataclass(frozen=True)
class _Known:
    """All that versions are looked up in."""

    graph: Mapping[str, Stage]
    history: History
    store: Store
    traits: Callable[[str], AssetTraits]

    @property
    def assets(self) -> list[str]:
        return _unique([*self.history.assets(), *self.graph])

    def with_file(self, md5: str) -> list[tuple[str, str]]:
        """Versions that are, or have a file with, an md5 that begins with ``md5``, the latest first."""
        return _unique([*self.history.holders(md5), *self._listing_file(md5)])

    def _listing_file(self, md5: str) -> Iterator[tuple[str, str]]:
        """Versions of assets that are known by a file with this md5."""
        if is_directory(md5):
            return
        for asset, version in self.history.holders(""):
            patterns = self.traits(asset).files
            if patterns and is_directory(version):
                files = self.listing(version).items()
                if any(digest.startswith(md5) and _is_one_of(patterns, name) for name, digest in files):
                    yield asset, version

    def files_of(self, folder: Path) -> list[Path]:
        """Files of a folder by which some asset may be known."""
        patterns = {pattern for asset in self.assets for pattern in self.traits(asset).files}
        return [path for path in sorted(folder.iterdir()) if path.is_file() and _is_one_of(patterns, path.name)]

    def listing(self, version: str) -> dict[str, str]:
        """md5 of every file of a directory's version, by path; nothing when the store does not have the listing."""
        remote = Remote(self.store.remote_url) if self.store.remote_url else None
        with contextlib.suppress(StoreError):
            return dict(read_tree(Cache(self.store.cache), remote, version).entries)
        return {}


def _is_one_of(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _may_be_asset(what: str) -> bool:
    """Whether ``what`` has the form of a name; a path such as ``./x`` or ``/x`` does not."""
    return bool(what) and all(part not in ("", ".", "..") for part in what.split("/"))


def _of_hash(digest: str, known: _Known) -> Found:
    candidates = known.with_file(digest)
    if not candidates:
        raise LineageError(
            f"no version of any asset begins with {digest}, and no file by which an asset is known does",
            needed="a data version, or the md5 of such a file, in this history",
            fix="give more or other digits; `robot-assets audit ASSET` shows the versions of an asset's chain",
        )
    return _the_only(
        candidates, f"{digest} may mean {len(candidates)} versions", "give more digits, or the name of the asset"
    )


def _of_directory(folder: Path, known: _Known, accompanying: Collection[str]) -> Found:
    """A directory that is exactly a version; else one with a file of a version, with a note on the differences."""
    digest = known.store.digest_of(folder).digest
    candidates = known.history.holders(digest)
    if candidates:
        return _the_only(candidates, f"{folder} is {digest}, which several assets have", "give the asset's name")
    for file in known.files_of(folder):
        found = _of_file(file, known)
        differences = list(_differences(folder, known.listing(found.version), accompanying))
        note = f"{folder} is not exactly this version (it is {digest}): {_some(differences, ', ')}"
        return Found(found.asset, found.version, note if differences else "")
    raise _not_in_history(folder, f"its version is {digest}", "an artifact")


def _of_file(path: Path, known: _Known) -> Found:
    md5 = md5_of(path)
    candidates = known.with_file(md5)
    if not candidates:
        raise _not_in_history(path, f"its md5 is {md5}", "a file")
    if len(candidates) > 1:
        beside = [one for one in candidates if _holds(path.parent, known.listing(one[1]))]
        candidates = beside or candidates
    return _the_only(
        candidates,
        f"{path} (md5 {md5}) is in {len(candidates)} versions",
        "give the directory with all of its files, or one of these versions",
    )


def _the_only(candidates: Sequence[tuple[str, str]], found: str, fix: str) -> Found:
    if len(candidates) == 1:
        return Found(*candidates[0])
    shown = [f"{asset}  {version}" for asset, version in candidates[:_LISTED_AT_MOST]]
    if len(candidates) > _LISTED_AT_MOST:
        shown.append(f"and {len(candidates) - _LISTED_AT_MOST} more")
    raise LineageError("\n    ".join([f"{found}:", *shown]), needed="exactly one version", fix=fix)


def _not_in_history(path: Path, identity: str, noun: str) -> LineageError:
    return LineageError(
        f"{path} is not in the history of this project: {identity}",
        needed=f"{noun} that a build of this project made, byte for byte",
        fix="audit it in the project that built it, or restore the artifact: its bytes may have been altered",
    )


def _unknown(what: str, known: _Known) -> LineageError:
    if what in known.graph:
        return LineageError(
            f"{what} has never been built or observed, so there is nothing to audit",
            needed="an asset with a history",
            fix=f"robot-assets build {what}",
        )
    names = known.assets
    example = f" such as {names[0]}" if names else ""
    return LineageError(
        f"{what!r} is not an asset, a file or directory here, or a hash",
        needed=f"an asset{example}, a file or directory of an artifact, or a data version",
        fix=_suggestion(what, names),
    )


def _suggestion(what: str, names: Sequence[str]) -> str:
    typed = what.strip("/")
    near = [name for name in names if name.startswith(f"{typed}/") or name.endswith(f"/{typed}")]
    near += near_misses(typed, names)
    last = near_misses(typed, {name.rpartition("/")[2] for name in names})
    near += [name for word in last for name in names if name.endswith(f"/{word}")]
    if re.fullmatch(r"[0-9a-fA-F]{1,5}", what):
        return f"give at least {DIGITS_MIN} digits of a hash"
    if near:
        return f"did you mean {_some(_unique(near), ' or ')}?"
    return f"one of: {_some(names, ', ')}" if names else "describe assets in params.yaml"


def _some(names: Sequence[str], joint: str) -> str:
    more = len(names) - _LISTED_AT_MOST
    return joint.join(names[:_LISTED_AT_MOST]) + (f" ({more} more)" if more > 0 else "")


def _holds(folder: Path, listing: Mapping[str, str]) -> bool:
    """Whether every file of a listing is in ``folder``; others may be there as well."""
    return bool(listing) and not list(_altered(folder, listing))


def _altered(folder: Path, listing: Mapping[str, str]) -> Iterator[str]:
    for name, md5 in listing.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif md5_of(path) != md5:
            yield f"{name} differs"


def _differences(folder: Path, listing: Mapping[str, str], accompanying: Collection[str]) -> Iterator[str]:
    """Files of ``folder`` that are missing, differ or are no part of the version with this listing."""
    yield from _altered(folder, listing)
    present = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    yield from (f"{name} is not a part of it" for name in present if name not in listing and name not in accompanying)


def _unique(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
