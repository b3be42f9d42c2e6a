"""The files of an engine by name and hash: what statements are about."""

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
"""Lies beside the files of an engine and is not one of them: it tells of times, and an engine does not."""
_CHUNK = 1 << 20


@dataclass(frozen=True, order=True)
class Subject:
    """One file of an engine.

    Attributes:
        name: Path inside the engine's directory, with ``/``.
        sha256: What decides: md5 alone can be forged.
        md5: What DVC calls the file.
    """

    name: str
    sha256: str
    md5: str


def read_subjects(engine: Path) -> tuple[Subject, ...]:
    """Hash every file below ``engine`` but the bundle of its provenance, ordered by name.

    Raises:
        ProvenanceError: It is no directory with files, or holds what cannot be hashed: a link, a device.
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
    """The data version of a directory with these files: what DVC calls it."""
    return tree_of((subject.name, subject.md5) for subject in subjects).digest


def differences(found: Iterable[Subject], signed: Mapping[str, str]) -> list[str]:
    """What is not as it was signed, one phrase for each file; nothing when all of it is.

    Args:
        found: The files that are there.
        signed: sha256 of the files that a statement is about, by name.
    """
    present = {subject.name: subject.sha256 for subject in found}
    phrases = []
    for name in sorted(present.keys() | signed.keys()):
        if name not in signed:
            phrases.append(f"{name} was added: nobody signed it")
        elif name not in present:
            phrases.append(f"{name} is missing")
        elif present[name] != signed[name]:
            phrases.append(f"{name} was altered: its sha256 is {present[name][:12]}…, signed was {signed[name][:12]}…")
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
                elif name != BUNDLE:
                    names.append(name)
    return names


def _refused(path: object, what: str) -> ProvenanceError:
    return ProvenanceError(
        f"{path} {what}",
        needed="the directory of an engine: engine.onnx, manifest.json and what came with them",
        fix="robot-assets engine get ENGINE --out DIR",
    )
