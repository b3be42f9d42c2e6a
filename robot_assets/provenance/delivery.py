"""Delivery of an engine: its files and the signed statements about it, in one folder that a robot can verify."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.os_errors import system_error
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.load import load_manifest
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.subjects import BUNDLE, read_subjects, version_of
from robot_assets.provenance.verify import read_envelopes, stored_version
from robot_assets.runtime.manifest import MANIFEST
from robot_assets.store import Store


@dataclass(frozen=True)
class Delivery:
    """A delivered engine.

    Attributes:
        version: Data version of the engine.
        files: Names of its files.
        statements: Number of envelopes beside them.
    """

    version: str
    files: tuple[str, ...]
    statements: int


def deliver(engine: Path, out: Path, store: Store | None = None) -> Delivery:
    """Write an engine and its envelopes to ``out`` in one step; an engine that is there is replaced.

    Args:
        engine: Directory of the engine; one in the store is checked out again and verified byte for byte.
        out: Folder to write.
        store: Has the envelopes when none are beside the engine.

    Raises:
        EngineError: ``engine`` is not an engine.
        ProvenanceError: ``out`` has something else than an engine, or cannot be written.
        StoreError: The store cannot be read, or its copy of the engine is damaged.
    """
    load_manifest(engine)
    source, target = engine.resolve(), out.resolve()
    _check_target(source, target)
    envelopes = read_envelopes(source, store)
    is_stored = store is not None and not (source / BUNDLE).exists() and source.is_relative_to(store.cache.resolve())
    version = stored_version(source, store) if store is not None else version_of(read_subjects(source))
    try:
        with publishing_directory(target) as staging:
            if is_stored and store is not None:
                store.get(version, staging)
            else:
                for subject in read_subjects(source):
                    (staging / subject.name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / subject.name, staging / subject.name)
            written = read_subjects(staging)
            _check_copy(source, version, version_of(written))
            if envelopes:
                # a line break in JSON is only white space, but ends the envelope in a file of lines
                lines = [b" ".join(envelope.split(b"\n")).strip() + b"\n" for envelope in envelopes]
                (staging / BUNDLE).write_bytes(b"".join(lines))
    except OSError as error:
        reason = system_error(error)
        if reason is None:
            raise
        found = f"{target} cannot be written: {reason.found}"
        raise ProvenanceError(found, needed=reason.needed, fix=reason.fix) from None
    return Delivery(version, tuple(subject.name for subject in written), len(envelopes))


def _check_target(source: Path, target: Path) -> None:
    """Refuse to replace anything but an engine: a mistyped --out must not delete a home directory."""
    if source == target or source.is_relative_to(target) or target.is_relative_to(source):
        raise ProvenanceError(
            f"{target} and the engine at {source} contain one another",
            needed="a separate folder",
            fix="give another --out",
        )
    if target.exists() and not (target / MANIFEST).is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise ProvenanceError(
            f"{target} exists and is not an engine",
            needed="a new folder, an empty one, or one with an older engine to replace",
            fix="give another --out",
        )


def _check_copy(source: Path, version: str, written: str) -> None:
    if written != version:
        raise ProvenanceError(
            f"{source} changed while it was copied: it was {version}, the copy is {written}",
            needed="an engine that no process writes to",
            fix="repeat the command",
        )
