"""Which version somebody means: by the name of an asset, by files on a robot's disk, or by a hash.

An asset's version is the hash of a whole directory. A robot may have no more than the engine file, so a file is
also looked for in the listings of every engine that there ever was, the latest first.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import StoreError
from robot_assets.lineage.audit import History
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.graph import Stage
from robot_assets.store import Store
from robot_assets.store.artifact import is_directory

_T = TypeVar("_T")
DIGITS_MIN = 6
_HASH = re.compile(rf"[0-9a-f]{{{DIGITS_MIN},32}}(\.dir)?")
_ENGINE_FILES = "engine.*"
"""``engine.onnx``, or what another runtime's engine is called."""
_LISTED_AT_MOST = 8


@dataclass(frozen=True)
class Found:
    """A version of an asset.

    Attributes:
        asset: Name of the asset.
        version: Its data version.
        note: What is to be known about the files that were asked about; empty when nothing.
    """

    asset: str
    version: str
    note: str = ""


def find(what: str, graph: Mapping[str, Stage], history: History, store: Store) -> Found:
    """The version that ``what`` names.

    Args:
        what: An asset (its latest version is meant), a path to an engine file or to a directory with one, or a
            data version or the md5 of an engine file: all of it, or at least 6 digits.
        graph: Stages by name.
        history: What happened.
        store: Has the listings of the engines.

    Raises:
        LineageError: It names nothing, or several things.
    """
    version = history.latest_version(what) if _may_be_asset(what) else None
    if version is not None:
        return Found(what, version)
    path = Path(what)
    if path.is_dir():
        return _of_directory(path, history, store)
    if path.is_file():
        return _of_file(path, history, store)
    if _HASH.fullmatch(what.lower()):
        return _of_hash(what.lower(), history, store)
    raise _unknown(what, graph, history)


def _may_be_asset(what: str) -> bool:
    """Whether ``what`` has the form of a name; a path such as ``./x`` or ``/x`` is one on purpose."""
    return bool(what) and all(part not in ("", ".", "..") for part in what.split("/"))


def _of_hash(digest: str, history: History, store: Store) -> Found:
    candidates = _unique([*history.holders(digest), *_engines_with(digest, history, store)])
    if not candidates:
        raise LineageError(
            f"no version of any asset begins with {digest}, and no engine file does",
            needed="a data version, or the md5 of an engine file, that this history knows",
            fix="give more or other digits; robot-assets audit ASSET shows the versions of an asset's chain",
        )
    return _the_only(
        candidates, f"{digest} may mean {len(candidates)} versions", "give more digits, or the asset's name"
    )


def _of_directory(folder: Path, history: History, store: Store) -> Found:
    """A directory that is exactly a version; else one whose engine file belongs to one, with a note that says so."""
    digest = store.digest_of(folder).digest
    candidates = history.holders(digest)
    if candidates:
        return _the_only(candidates, f"{folder} is {digest}, which several assets have", "give the asset's name")
    for file in sorted(folder.glob(_ENGINE_FILES)):
        found = _of_file(file, history, store)
        return Found(found.asset, found.version, _differences(folder, digest, found.version, store))
    raise LineageError(
        f"no history knows {folder}: its version is {digest}",
        needed="an artifact that a build of this project made, byte for byte",
        fix="audit it in the project that built it, or restore the artifact: its bytes may have been altered",
    )


def _of_file(path: Path, history: History, store: Store) -> Found:
    md5 = md5_of(path)
    candidates = _unique([*history.holders(md5), *_engines_with(md5, history, store)])
    if not candidates:
        raise LineageError(
            f"no history knows {path}: its md5 is {md5}",
            needed="a file that a build of this project made, byte for byte",
            fix="audit it in the project that built it, or restore the artifact: its bytes may have been altered",
        )
    if len(candidates) > 1:
        beside = [one for one in candidates if _holds(path.parent, _listing(store, one[1]))]
        candidates = beside or candidates
    return _the_only(
        candidates,
        f"{path} (md5 {md5}) is in {len(candidates)} versions",
        "give the directory with its manifest.json, or one of these versions",
    )


def _the_only(candidates: Sequence[tuple[str, str]], found: str, fix: str) -> Found:
    if len(candidates) == 1:
        return Found(*candidates[0])
    shown = [f"{asset}  {version}" for asset, version in candidates[:_LISTED_AT_MOST]]
    if len(candidates) > _LISTED_AT_MOST:
        shown.append(f"and {len(candidates) - _LISTED_AT_MOST} more")
    raise LineageError("\n    ".join([f"{found}:", *shown]), needed="exactly one version", fix=fix)


def _unknown(what: str, graph: Mapping[str, Stage], history: History) -> LineageError:
    if what in graph:
        return LineageError(
            f"{what} has never been built or observed, so there is nothing to audit",
            needed="an asset with a history",
            fix=f"robot-assets build {what}",
        )
    known = _unique([*history.assets(), *graph])
    near = [name for name in known if name.startswith(f"{what.strip('/')}/")]
    near += difflib.get_close_matches(what.strip("/"), known, n=3, cutoff=0.6)
    if re.fullmatch(r"[0-9a-fA-F]{1,5}", what):
        fix = f"give at least {DIGITS_MIN} digits of a hash"
    elif near:
        fix = f"did you mean {_some(_unique(near), ' or ')}?"
    else:
        fix = f"one of: {_some(known, ', ')}"
    return LineageError(
        f"{what!r} is no asset, no file or directory here, and no hash",
        needed="an asset such as sidewalk_detector/engine/cpu, an engine file or its directory, or a data version",
        fix=fix,
    )


def _some(names: Sequence[str], joint: str) -> str:
    more = len(names) - _LISTED_AT_MOST
    return joint.join(names[:_LISTED_AT_MOST]) + (f" ({more} more)" if more > 0 else "")


def _engines_with(md5: str, history: History, store: Store) -> Iterator[tuple[str, str]]:
    """Engines whose engine file has an md5 that begins with ``md5``, the latest first."""
    if is_directory(md5):
        return
    for asset, version in history.holders(""):
        if "/engine/" in asset and is_directory(version):
            files = _listing(store, version).items()
            if any(digest.startswith(md5) and fnmatch(name, _ENGINE_FILES) for name, digest in files):
                yield asset, version


def _listing(store: Store, version: str) -> dict[str, str]:
    """md5 of every file of a directory's version, by path; nothing when the store has lost the listing."""
    from robot_assets.store.cache import Cache
    from robot_assets.store.reading import read_tree
    from robot_assets.store.remote import Remote

    remote = Remote(store.remote_url) if store.remote_url else None
    with contextlib.suppress(StoreError):
        return dict(read_tree(Cache(store.cache), remote, version).entries)
    return {}


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


def _differences(folder: Path, digest: str, version: str, store: Store) -> str:
    """What sets ``folder`` apart from ``version``; empty when that is only the signatures that came with it."""
    from robot_assets.provenance.subjects import BUNDLE

    listing = _listing(store, version)
    present = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    added = [f"{name} is no part of it" for name in present if name not in listing and name != BUNDLE]
    told = [*_altered(folder, listing), *added]
    return f"{folder} is not exactly this version (it is {digest}): {_some(told, ', ')}" if told else ""


def _unique(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
