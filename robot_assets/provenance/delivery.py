"""Handing an engine over: its files and all that was signed about it, in one folder that a robot can verify."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.publishing import publishing_directory
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.subjects import BUNDLE, read_subjects, version_of
from robot_assets.provenance.verify import read_envelopes, stored_version
from robot_assets.runtime.manifest import MANIFEST, load_manifest
from robot_assets.store import Store


@dataclass(frozen=True)
class Delivery:
    """What was written.

    Attributes:
        version: Data version of the engine.
        files: Its files, by name.
        statements: How many envelopes lie beside them.
    """

    version: str
    files: tuple[str, ...]
    statements: int


def deliver(engine: Path, out: Path, store: Store | None = None) -> Delivery:
    """Write an engine and its envelopes to ``out`` in one step; an engine that was there is replaced.

    Args:
        engine: Directory of the engine; one of the store is read out anew and checked byte for byte.
        out: Folder to make.
        store: Where its signatures are when none lie beside it.

    Raises:
        EngineError: ``engine`` is no engine.
        ProvenanceError: ``out`` holds something else than an engine, or cannot be written.
        StoreError: The store cannot be read, or has the engine damaged.
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
                # a line break in JSON is only ever a space, and here it would end the envelope
                lines = [b" ".join(envelope.split(b"\n")).strip() + b"\n" for envelope in envelopes]
                (staging / BUNDLE).write_bytes(b"".join(lines))
    except OSError as error:
        raise ProvenanceError(
            f"{error.filename or target} cannot be written: {error.strerror}",
            needed=f"a place for the engine at {target}",
            fix="free some space, mend the permission, or give another --out",
        ) from None
    return Delivery(version, tuple(subject.name for subject in written), len(envelopes))


def _check_target(source: Path, target: Path) -> None:
    """Refuse to replace anything but an engine: a mistyped --out must not cost a home directory."""
    if source == target or source.is_relative_to(target) or target.is_relative_to(source):
        raise ProvenanceError(
            f"{target} and the engine at {source} lie in one another",
            needed="a folder of its own",
            fix="give another --out",
        )
    if target.exists() and not (target / MANIFEST).is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise ProvenanceError(
            f"{target} is there already and is no engine",
            needed="a new folder, an empty one, or one with an older engine to replace",
            fix="give another --out",
        )


def _check_copy(source: Path, version: str, written: str) -> None:
    if written != version:
        raise ProvenanceError(
            f"{source} changed while it was copied: it was {version}, what arrived is {written}",
            needed="an engine that nobody writes to",
            fix="run it again",
        )
