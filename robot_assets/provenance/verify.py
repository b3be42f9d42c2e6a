"""Verification of an engine on a robot: offline, without Dagster and without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import EngineError
from robot_assets.engines.load import load_manifest
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.evidence import Evidence, gather
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.subjects import BUNDLE, Subject, differences, read_subjects, version_of
from robot_assets.runtime.manifest import MANIFEST, Manifest
from robot_assets.store.usage import CHECKOUTS

if TYPE_CHECKING:
    from robot_assets.platforms.probe import Platform
    from robot_assets.store import Store

_GET_AGAIN = "get the engine again: robot-assets engine get ENGINE --out DIR"
_TRUST = (
    "if the signer is one of yours, add its key to provenance.trusted_keys in params.yaml or give it with --trusted; "
    "`robot-assets key show` prints it where engines are signed"
)


@dataclass(frozen=True)
class Check:
    """One check of an engine and its result.

    Attributes:
        name: What was checked: manifest, signature, files, gates or platform.
        passed: Whether it passed.
        why: What was found, one line.
        fix: What to do now; empty when passed.
    """

    name: str
    passed: bool
    why: str
    fix: str = ""


@dataclass(frozen=True)
class Verification:
    """The result for one engine directory.

    Attributes:
        path: The directory.
        version: Data version of the present files, as DVC computes it.
        asset: Name of the engine in the signed statement; None when no trusted key signed exactly these files.
        signed_by: Public key of the signer; None as above.
        checks: All checks.
    """

    path: Path
    version: str
    asset: str | None
    signed_by: str | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a machine."""
        return {**asdict(self), "path": str(self.path), "passed": self.passed}


def verify(path: Path, trusted: Trust, platform: Platform, store: Store | None = None) -> Verification:
    """Check an engine against its signed statements and against this machine.

    Args:
        path: Directory of an engine, or a file in it.
        trusted: Whose signatures count.
        platform: This machine.
        store: Has the envelopes when none are beside the engine.

    Raises:
        ProvenanceError: There is no engine at ``path``.
        StoreError: The store cannot be read.
    """
    engine = _directory(path)
    subjects = read_subjects(engine)
    evidence = gather(read_envelopes(engine, store), subjects, trusted)
    manifest = _manifest(engine)
    files = check_files(evidence, subjects)
    made = evidence.provenance if files.passed else None
    return Verification(
        path=engine,
        version=version_of(subjects),
        asset=made.asset if made else None,
        signed_by=str(made.signer) if made else None,
        checks=(
            check_manifest(manifest, subjects),
            check_signature(evidence, trusted),
            files,
            check_gates(evidence),
            _check_platform(manifest, platform),
        ),
    )


def read_envelopes(engine: Path, store: Store | None = None) -> list[bytes]:
    """The envelopes beside an engine; where there are none, those that the store keeps for its version.

    Raises:
        StoreError: The store cannot be read.
    """
    try:
        return [line for line in (engine / BUNDLE).read_bytes().splitlines() if line.strip()]
    except FileNotFoundError:
        return [] if store is None else list(store.attestations(stored_version(engine, store)).values())
    except OSError as error:
        raise ProvenanceError(
            f"{engine / BUNDLE} cannot be read: {error.strerror}",
            needed="the envelopes that came with the engine",
            fix="fix its permission, or get the engine again: robot-assets engine get ENGINE --out DIR",
        ) from None


def stored_version(engine: Path, store: Store) -> str:
    """Data version of an engine: from its path in a checkout of the store, so that damage shows, else from its bytes.

    Raises:
        ProvenanceError: It cannot be read.
    """
    place = engine.resolve()
    if place.parent == (store.cache / CHECKOUTS).resolve():
        return place.name
    return version_of(read_subjects(engine))


def check_signature(evidence: Evidence, trusted: Trust) -> Check:
    """Whether a trusted key has signed the engine's provenance."""
    made = evidence.provenance
    if made is not None:
        by = trusted.named(made.signer)
        return Check("signature", True, f"{made.asset} of {_day(made.made_at)}, run {made.run_id[:8]}, signed by {by}")
    if evidence.refusals:
        return Check("signature", False, "; ".join(evidence.refusals), _TRUST)
    why = f"no signed provenance: neither {BUNDLE} beside it nor the store has any"
    return Check("signature", False, why, _GET_AGAIN)


def check_files(evidence: Evidence, subjects: Sequence[Subject]) -> Check:
    """Whether the files are exactly the signed ones, no more and no fewer."""
    made = evidence.provenance
    if made is None:
        return Check("files", False, "no signed hashes to compare them with", _GET_AGAIN)
    found = differences(subjects, made.subjects)
    if found:
        why = f"{'; '.join(found)} (the signed engine is {made.asset} {made.version})"
        return Check("files", False, why, _GET_AGAIN)
    return Check("files", True, f"{enumerated([subject.name for subject in subjects])} as signed, by sha256")


def enumerated(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _directory(path: Path) -> Path:
    engine = path.parent if path.is_file() else path
    if not engine.is_dir():
        raise ProvenanceError(
            f"no engine at {path}",
            needed=f"a directory with an engine and its {MANIFEST}, or one of its files",
            fix="robot-assets engine get ENGINE --out DIR",
        )
    return engine


def _manifest(engine: Path) -> Manifest | EngineError:
    try:
        return load_manifest(engine)
    except EngineError as error:
        return error


def check_manifest(manifest: Manifest | EngineError, subjects: Sequence[Subject]) -> Check:
    """Whether the manifest is undamaged and describes the engine's file."""
    if isinstance(manifest, EngineError):
        return Check("manifest", False, manifest.found, _GET_AGAIN)
    name = manifest.engine_file
    md5 = next((subject.md5 for subject in subjects if subject.name == name), "missing")
    if md5 != manifest.engine_md5:
        why = f"it describes an {name} with md5 {manifest.engine_md5}; this file has md5 {md5}"
        return Check("manifest", False, why, _GET_AGAIN)
    return Check("manifest", True, f"undamaged, and it describes this {name}")


def check_gates(evidence: Evidence) -> Check:
    """Whether every expected gate has passed, by signed results about exactly these files."""
    gates = evidence.gates
    if gates is None:
        why = "no trusted key has signed gate results for exactly these files"
        fix = "run its gates where it was built (robot-assets build), then get it again"
        return Check("gates", False, why, fix)
    if gates.passed:
        return Check("gates", True, f"{enumerated(gates.passed_gates)} passed on {_day(gates.made_at)}")
    wrong = [f"{name} failed" for name in gates.failed_gates]
    wrong += [f"{name} was not evaluated" for name in gates.open_gates]
    why = f"{enumerated(wrong) or 'not passed'}, {_day(gates.made_at)}"
    return Check("gates", False, why, "keep the robot's present engine; the page of the failed gate has the fix")


def _check_platform(manifest: Manifest | EngineError, here: Platform) -> Check:
    if isinstance(manifest, EngineError):
        return Check("platform", False, "without its manifest the device that it was built for is unknown", _GET_AGAIN)
    return check_platform(manifest.platform, manifest.platform_fingerprint, here)


def check_platform(there: Mapping[str, Any], fingerprint: str, here: Platform) -> Check:
    """Whether a device is like the one that an engine was built for.

    Args:
        there: That device, as the manifest of the engine states it.
        fingerprint: Its fingerprint.
        here: The device.
    """
    if fingerprint == here.fingerprint:
        return Check("platform", True, f"built for a device like this one, fingerprint {here.fingerprint[:12]}")
    now = here.as_json()
    differing = [
        f"{key} is {_value(now.get(key))}, it was built for {_value(there.get(key))}"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    ]
    why = "; ".join(differing) or "the fingerprint of another device"
    lacks_runtime = here.onnxruntime is None and "onnxruntime" in there
    fix = "pip install 'robot-assets[cpu]'" if lacks_runtime else "build the engine on a device like this one"
    return Check("platform", False, why, fix)


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "none"
    return "none" if value is None else str(value)


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
