"""The files of an engine by name and hash: the subjects of statements."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from robot_assets.provenance.errors import ProvenanceError
from robot_assets.store.tree import tree_of

BUNDLE = "provenance.intoto.jsonl"
"""A file beside those of an engine that is no part of it: it has times, and an engine has none."""

REFERENCE = "reference.npz"
"""The reference answers of an engine in a release (``robot_assets.release``), whose bundle.json has their hash."""

_CHUNK = 1 << 20


@dataclass(frozen=True, order=True)
class Subject:
    """One file of an engine.

    Attributes:
        name: Path inside the engine's directory, with ``/``.
        sha256: Decides whether the file is the signed one; md5 alone can be forged.
        md5: The hash that DVC gives the file.
    """

    name: str
    sha256: str
    md5: str


def read_subjects(engine: Path) -> tuple[Subject, ...]:
    """Hash every file below ``engine`` except the envelopes and reference answers beside it, ordered by name.

    Raises:
        ProvenanceError: It is not a directory with files, or has an entry that cannot be hashed: a link, a device.
    """
    try:
        names = sorted(_names(engine))
        found = tuple(hash_subject(name, engine / name) for name in names)
    except OSError as error:
        raise _refused(error.filename or engine, f"cannot be read: {error.strerror}") from None
    if not found:
        raise _refused(engine, "has no files")
    return found


def hash_subject(name: str, path: str | Path) -> Subject:
    """Read the file at ``path`` once for both of its hashes. Raises OSError."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
    return Subject(name, sha256.hexdigest(), md5.hexdigest())


def version_of(subjects: Iterable[Subject]) -> str:
    """The data version of a directory with these files: the hash that DVC gives it."""
    return tree_of((subject.name, subject.md5) for subject in subjects).digest


def differences(found: Iterable[Subject], signed: Mapping[str, str]) -> list[str]:
    """How files differ from the signed ones, one phrase for each file that does.

    Args:
        found: The present files.
        signed: sha256 of the files that a statement is about, by name.
    """
    present = {subject.name: subject.sha256 for subject in found}
    phrases = []
    for name in sorted(present.keys() | signed.keys()):
        if name not in signed:
            phrases.append(f"{name} was added and is not signed")
        elif name not in present:
            phrases.append(f"{name} is missing")
        elif present[name] != signed[name]:
            phrases.append(
                f"{name} was altered: its sha256 is {present[name][:12]}…, that of the signed file {signed[name][:12]}…"
            )
    return phrases


def _names(engine: Path) -> list[str]:
    names, pending = [], [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(engine / prefix) as listing:
            for entry in listing:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    raise _refused(entry.path, "is neither a file nor a directory")
                elif name not in (BUNDLE, REFERENCE):
                    names.append(name)
    return names


def _refused(path: object, what: str) -> ProvenanceError:
    return ProvenanceError(
        f"{path} {what}",
        needed="the directory of an engine, with its manifest.json and the files beside it",
        fix="robot-assets engine get ENGINE --out DIR",
    )
