"""The reverse of an audit: what a hash means in the history, and which artifacts are made of it.

A hash is a data version of any asset, a code version, a git commit, the digest of a container image, or the id of a key
that signed an artifact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from robot_assets.core.text import listed, near_misses, plural
from robot_assets.lineage.audit import History
from robot_assets.lineage.carriers import Ancestry, Key
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.record import Record

DIGITS_MIN = 6
_LISTED_AT_MOST = 4


class OriginKind(StrEnum):
    """What a hash is the hash of."""

    VERSION = "version"
    CODE = "code version"
    COMMIT = "git commit"
    IMAGE = "container image"
    KEY = "signing key"


@dataclass(frozen=True, order=True)
class Origin:
    """One thing that a hash names.

    Attributes:
        kind: What it is.
        asset: The asset whose version or code it is; empty where it is of many.
        digest: All of its digits.
    """

    kind: OriginKind
    asset: str
    digest: str

    def __str__(self) -> str:
        """For people, with the first digits."""
        name = {
            OriginKind.VERSION: self.asset,
            OriginKind.CODE: f"the code of {self.asset}",
        }.get(self.kind, f"the {self.kind.value}")
        return f"{name} {self.digest.removesuffix('.dir')[:12]}"


@dataclass(frozen=True)
class User:
    """A version of an artifact that is made of what a hash names.

    Attributes:
        asset: Name of the artifact's asset.
        version: Its data version.
        is_latest: Whether it is the latest version.
        origins: What it is made of.
    """

    asset: str
    version: str
    is_latest: bool
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Usage:
    """What a hash means, and what is made of it.

    Attributes:
        origins: Everything in the history that the hash names.
        users: The artifacts that are made of any of that, by name, the latest version of each first.
    """

    origins: tuple[Origin, ...]
    users: tuple[User, ...]


def used_by(
    digits: str, artifacts: Collection[str], history: History, signers: Callable[[Key], Collection[str]]
) -> Usage:
    """What ``digits`` names, and which versions of ``artifacts`` are made of it.

    Args:
        digits: First digits of a hash, at least 6; with or without the name of its algorithm and ``.dir``.
        artifacts: Names of the assets that are searched.
        history: Materializations and their records.
        signers: Ids of the keys that signed a version; empty where it is not signed.

    Raises:
        LineageError: It is no hash, or nothing in the history has it.
    """
    wanted = _normalized(digits)
    ancestry, keys = Ancestry(history), list(dict.fromkeys(history.holders("")))
    named = {key: found for key in keys if (found := set(_origins(key, wanted, ancestry)))}
    searched = [key for key in keys if key[0] in artifacts]
    if not named:  # signed statements are files of the store: they are read where nothing else has the hash
        named = {key: found for key in searched if (found := set(_signers(key, wanted, signers)))}
    if not named:
        raise _unknown(digits, wanted, keys, ancestry)
    users = list(_users(searched, named, ancestry, history))
    origins = sorted({origin for found in named.values() for origin in found})
    return Usage(tuple(origins), tuple(sorted(users, key=lambda one: (one.asset, not one.is_latest))))


def _users(
    searched: Collection[Key], named: Mapping[Key, set[Origin]], ancestry: Ancestry, history: History
) -> Iterator[User]:
    for asset, version in searched:
        made_of = (asset, version), *ancestry.below((asset, version))
        origins = {origin for key in made_of for origin in named.get(key, ())}
        if origins:
            yield User(asset, version, history.latest_version(asset) == version, tuple(sorted(origins)))


def _normalized(digits: str) -> str:
    wanted = digits.strip().lower().removeprefix("sha256:").removeprefix("md5:").removesuffix(".dir")
    if re.fullmatch(rf"[0-9a-f]{{{DIGITS_MIN},64}}", wanted):
        return wanted
    is_short = re.fullmatch(r"[0-9a-f]+", wanted) and len(wanted) < DIGITS_MIN
    raise LineageError(
        f"{digits!r} is {'too short' if is_short else 'no hash'}",
        needed=f"at least {DIGITS_MIN} of the first digits of a data version, a code version, a git commit, an image "
        "or a key",
        fix="give more digits; `robot-assets audit ASSET` shows all of an asset's chain",
    )


def _origins(key: Key, wanted: str, ancestry: Ancestry) -> Iterator[Origin]:
    asset, version = key
    if version.startswith(wanted):
        yield Origin(OriginKind.VERSION, asset, version)
    for record in ancestry.records(key):
        yield from (origin for origin in _of_record(record) if origin.digest.startswith(wanted))


def _of_record(record: Record) -> Iterator[Origin]:
    yield Origin(OriginKind.CODE, record.asset, record.code_version)
    if record.git_commit:
        yield Origin(OriginKind.COMMIT, "", record.git_commit)
    if record.image and "@sha256:" in record.image:
        yield Origin(OriginKind.IMAGE, "", record.image.rpartition("@sha256:")[2])


def _signers(key: Key, wanted: str, signers: Callable[[Key], Collection[str]]) -> Iterator[Origin]:
    return (Origin(OriginKind.KEY, "", signer) for signer in signers(key) if signer.startswith(wanted))


def _unknown(digits: str, wanted: str, keys: Collection[Key], ancestry: Ancestry) -> LineageError:
    known = {version[: len(wanted)]: f"{version.removesuffix('.dir')[:12]} of {asset}" for asset, version in keys}
    codes = {record.code_version for key in keys for record in ancestry.records(key)}
    near = [known[one] for one in near_misses(wanted, known, _LISTED_AT_MOST)]
    found = f"{plural(len(keys), 'version')} of {plural(len({asset for asset, _ in keys}), 'asset')}"
    return LineageError(
        f"nothing in this history has a hash that begins with {digits.strip()}: it has {found} and "
        f"{plural(len(codes), 'code version')}",
        needed="a data version, a code version, a git commit, an image or a key of what was built or observed",
        fix=f"did you mean {listed(near, _LISTED_AT_MOST)}?"
        if near
        else "robot-assets audit ASSET   # shows every hash of an asset's chain",
    )
