"""Verification of a release on a robot: offline, without Dagster and torch, and without NumPy.

The directory has exactly the files that ``bundle.json`` names; each engine is signed by a trusted key, with all gates
passed, and is for this device; its decoder is installed here; its gates were judged by budgets at least as tight as
demanded. That ``bundle.json`` itself is authentic is for the distribution repository to prove.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import EngineError, RobotAssetsError
from robot_assets.core.text import escaped, plural
from robot_assets.engines.load import load_manifest
from robot_assets.platforms.probe import probe
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.evidence import Evidence, gather
from robot_assets.provenance.subjects import Subject, read_subjects, version_of
from robot_assets.provenance.verify import (
    Check,
    check_files,
    check_gates,
    check_manifest,
    check_platform,
    check_signature,
    read_envelopes,
)
from robot_assets.release.budgets import judged_budgets, looser
from robot_assets.release.bundle import BUNDLE_FILE, BUNDLE_SIZE_MAX, Bundle, BundledFile, BundledModel, refused
from robot_assets.release.bundle import parse_bundle as parse_bundle
from robot_assets.release.errors import ReleaseError
from robot_assets.runtime.decoding import decoder_code
from robot_assets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from robot_assets.platforms.probe import Platform
    from robot_assets.provenance.public_key import Trust

_SHOWN = 3
_DOWNLOAD_AGAIN = "robot-assets agent once   # downloads the release again"
_OTHER_RELEASE = "keep the present release, and build this one again: robot-assets build release/GROUP"
_FIXES = {
    "manifest": _OTHER_RELEASE,
    "signature": "if the signer is one of yours, add its key to trusted_keys in robot.yaml (`robot-assets key show` "
    "prints it where engines are signed); else keep the present release",
    "files": _OTHER_RELEASE,
    "gates": "keep the present release; the page of the failed gate has the fix",
}
"""Of the checks of one engine: those of ``provenance.verify`` advise to get that engine alone."""


@dataclass(frozen=True)
class Verification:
    """The result for one release directory.

    Attributes:
        path: The directory.
        bundle: Content of its bundle.json; None where that is not valid.
        checks: All checks. Those of one engine are named ``MODEL: signature`` and so on.
    """

    path: Path
    bundle: Bundle | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def why(self) -> str:
        """The failures in one line; empty when passed."""
        return "; ".join(f"{check.name}: {check.why}" for check in self.failures)

    def require(self) -> Bundle:
        """The content of bundle.json.

        Raises:
            ReleaseError: A check failed; it names the first ones.
        """
        if self.passed and self.bundle is not None:
            return self.bundle
        raise ReleaseError(
            f"the release at {self.path} does not verify: {self.why}",
            needed="a release whose every check passes",
            fix=self.failures[0].fix,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for a machine."""
        checks = [asdict(check) for check in self.checks]
        return {"path": str(self.path), "passed": self.passed, "checks": checks}


def verify_release(
    release: Path,
    trusted: Trust,
    *,
    platform: Platform | None = None,
    demanded: Mapping[str, float | None] | None = None,
    group: str | None = None,
) -> Verification:
    """Check a release directory. Damage and forgery are failed checks, not errors.

    Args:
        release: The directory.
        trusted: Whose signatures on engines count.
        platform: The device; by default this machine.
        demanded: Budgets that the gates have to have been at least as tight as, by the names of ``targets.T.gate``.
        group: Of the robot; None: a release of any group.
    """
    here = platform or probe(require_runtime=False)
    try:
        bundle = parse_bundle(read_bundle(release))
    except ReleaseError as error:
        return Verification(release, None, (Check("bundle", False, error.found, error.fix),))
    contents = check_contents(release, bundle)
    first = (_check_bundle(bundle, group), contents, check_fingerprint(bundle, here))
    if not contents.passed:
        return Verification(release, bundle, first)
    checks = [
        check for name in bundle.models for check in _check_model(release, bundle, name, trusted, here, demanded or {})
    ]
    return Verification(release, bundle, (*first, *checks))


def read_bundle(release: Path) -> bytes:
    """The bytes of the ``bundle.json`` of a release directory, not yet parsed.

    Raises:
        ReleaseError: It is missing, a link, too large, or cannot be read.
    """
    try:
        with open(os.open(release / BUNDLE_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise refused("it is not a file")
            return stream.read(BUNDLE_SIZE_MAX + 1)
    except OSError as error:
        raise refused(f"{release / BUNDLE_FILE} cannot be read: {error.strerror}") from None


def check_contents(release: Path, bundle: Bundle) -> Check:
    """Whether a directory has exactly the files of a bundle, by size and sha256, and nothing else."""
    problems: list[str] = []
    try:
        problems += _strays(release, bundle)
        for file in bundle.files:
            problems += _faults(release / file.path, file)
    except OSError as error:
        problems.append(f"{_shown(str(error.filename))} cannot be read: {error.strerror}")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return Check("files", False, "; ".join(problems[:_SHOWN]) + more, _DOWNLOAD_AGAIN)
    count = plural(len(bundle.files), "file")
    return Check("files", True, f"exactly the {count} of bundle.json, by size and sha256")


def _strays(release: Path, bundle: Bundle) -> Iterator[str]:
    """What is in a release directory and not in its bundle: files, folders, links, devices."""
    files = {file.path for file in bundle.files}
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    for name, kind in _entries(release):
        if kind == "other":
            yield f"{_shown(name)} is a link or a device"
        elif name not in (files if kind == "file" else folders):
            yield f"{_shown(name)} is not in bundle.json"


def _faults(path: Path, file: BundledFile) -> Iterator[str]:
    """How a file differs from what its bundle states. A link is not followed. Raises OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        yield f"{file.path} is missing"
        return
    with open(handle, "rb", buffering=0) as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            yield f"{file.path} is not a file"
        elif found.st_size != file.size:
            yield f"{file.path} has {plural(found.st_size, 'byte')} instead of {file.size}"
        elif (digest := hashlib.file_digest(stream, "sha256").hexdigest()) != file.sha256:
            yield f"{file.path} has sha256 {digest[:12]}… instead of {file.sha256[:12]}…"


def check_fingerprint(bundle: Bundle, here: Platform) -> Check:
    """Whether a bundle is for a device like ``here``: known before anything is downloaded."""
    found = check_platform(bundle.platform, bundle.platform_fingerprint, here)
    report = "robot-assets agent once   # reports this device; its engines have to be built for it"
    return found if found.passed else replace(found, why=escaped(found.why), fix=report)


def check_demanded(bundle: Bundle, demanded: Mapping[str, float | None]) -> Check:
    """Whether the budgets that a bundle states are at least as tight as demanded: known before a download."""
    found = [f"{name}: {phrase}" for name, one in bundle.models.items() for phrase in looser(one.budgets, demanded)]
    return _budgets_check("budgets", found)


def _check_bundle(bundle: Bundle, group: str | None) -> Check:
    if group is not None and bundle.group != group:
        why = f"it is for the group {_shown(bundle.group)}, and this robot is in {group}"
        return Check("bundle", False, why, "keep the present release; correct the group in robot.yaml if it is wrong")
    return Check("bundle", True, f"{plural(len(bundle.models), 'engine')} of the group {_shown(bundle.group)}")


@dataclass(frozen=True)
class BundledEngine:
    """One engine of a release, as it was read.

    Attributes:
        name: Of the model.
        bundle: The bundle of the release.
        subjects: Its files.
        evidence: What trusted keys have signed about them.
        manifest: Its manifest; the reason where there is none.
    """

    name: str
    bundle: Bundle
    subjects: Sequence[Subject]
    evidence: Evidence
    manifest: Manifest | EngineError

    @property
    def model(self) -> BundledModel:
        """What the bundle states of it."""
        return self.bundle.models[self.name]


def read_engine(release: Path, bundle: Bundle, name: str, trusted: Trust) -> BundledEngine:
    """Read an engine of a release, and verify the statements beside it.

    Raises:
        ProvenanceError: Its files cannot be read.
    """
    folder = release / bundle.models[name].folder
    subjects = read_subjects(folder)
    evidence = gather(read_envelopes(folder), subjects, trusted)
    return BundledEngine(name, bundle, subjects, evidence, _manifest(folder))


def check_statements(engine: BundledEngine, trusted: Trust, demanded: Mapping[str, float | None]) -> Iterator[Check]:
    """Whether an engine is the signed one that the bundle names, with all gates passed, by budgets as demanded."""
    yield check_manifest(engine.manifest, engine.subjects)
    yield check_signature(engine.evidence, trusted)
    yield check_files(engine.evidence, engine.subjects)
    yield check_gates(engine.evidence)
    yield _check_identity(engine)
    yield _check_budgets(engine, demanded)


def _check_model(
    release: Path, bundle: Bundle, name: str, trusted: Trust, here: Platform, demanded: Mapping[str, float | None]
) -> Iterator[Check]:
    """All checks of one engine on a robot."""
    try:
        engine = read_engine(release, bundle, name, trusted)
    except (ProvenanceError, OSError) as error:
        why = error.found if isinstance(error, RobotAssetsError) else str(error)
        yield Check(f"{name}: engine", False, why, _DOWNLOAD_AGAIN)
        return
    checks = [*check_statements(engine, trusted, demanded), *_check_device(engine.manifest, here)]
    for check in checks:
        fix = "" if check.passed else _FIXES.get(check.name, check.fix).replace("GROUP", bundle.group)
        yield replace(check, name=f"{name}: {check.name}", why=escaped(check.why), fix=fix)


def _check_device(manifest: Manifest | EngineError, here: Platform) -> Iterator[Check]:
    """Whether an engine can run on a device, and its heads be read there."""
    if isinstance(manifest, Manifest):
        yield check_platform(manifest.platform, manifest.platform_fingerprint, here)
        yield _check_decoder(manifest)


def _check_identity(found: BundledEngine) -> Check:
    """Whether the signed engine is the one that the bundle names, of this model and target."""
    made, stated = found.evidence.provenance, found.model
    wrong = []
    if made is not None and made.asset != stated.asset:
        wrong.append(f"signed as {_shown(made.asset)}, bundle.json names it {_shown(stated.asset)}")
    if stated.asset.split("/")[0] != found.name or stated.asset.split("/")[-1] != found.bundle.target:
        wrong.append(f"{_shown(stated.asset)} is not an engine of {found.name} for {_shown(found.bundle.target)}")
    if (version := version_of(found.subjects)) != stated.version:
        wrong.append(f"its version is {version}, bundle.json states {stated.version}")
    if isinstance(found.manifest, Manifest):
        wrong += _differences(found.manifest, found)
    if wrong:
        return Check("identity", False, "; ".join(wrong), _OTHER_RELEASE)
    return Check("identity", True, f"{stated.asset} {stated.version}, as bundle.json states")


def _differences(manifest: Manifest, found: BundledEngine) -> Iterator[str]:
    """Where the manifest of an engine and the bundle differ."""
    stated = {
        "task": (manifest.interface.task, found.model.task),
        "decoder": (manifest.interface.decoder, found.model.decoder),
        "device": (manifest.platform_fingerprint, found.bundle.platform_fingerprint),
    }
    for what, (is_of, said) in stated.items():
        if is_of != said:
            yield f"its {what} is {_shown(is_of)}, bundle.json states {_shown(said)}"


def _check_budgets(found: BundledEngine, demanded: Mapping[str, float | None]) -> Check:
    """Whether the budgets in the signed results are those of the bundle, and at least as tight as demanded."""
    if found.evidence.gates is None:
        return Check("budgets", False, "without signed gate results, its budgets are unknown", _OTHER_RELEASE)
    judged = judged_budgets(found.evidence.gates)
    if judged != found.model.budgets:
        return Check("budgets", False, "bundle.json states other budgets than its signed gate results", _OTHER_RELEASE)
    if not any(limit is not None for limit in demanded.values()):
        return Check("budgets", True, "as bundle.json states; none are demanded here")
    return _budgets_check("budgets", looser(judged, demanded))


def _budgets_check(name: str, found: Sequence[str]) -> Check:
    if found:
        fix = "keep the present release; tighten the budgets under targets in params.yaml and build again, or loosen "
        return Check(name, False, "; ".join(found), f"{fix}those of the robot (robot.yaml) or of its group")
    return Check(name, True, "at least as tight as demanded")


def _check_decoder(manifest: Manifest) -> Check:
    try:
        here = decoder_code(manifest.interface)
    except EngineError as error:
        return Check("decoder", False, error.found, error.fix)
    name = manifest.interface.decoder
    if here != manifest.decoder_code:
        why = f"{name} has the code version {here} here, the engine was built with {manifest.decoder_code}"
        return Check(
            "decoder", False, why, "install here the version of robot-assets, or of the plug-in, that built it"
        )
    return Check("decoder", True, f"{name}, the code that the engine was built with")


def _manifest(engine: Path) -> Manifest | EngineError:
    try:
        return load_manifest(engine)
    except EngineError as error:
        return error


def _entries(root: Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every entry below ``root`` but bundle.json: its path, and whether it is a file, a folder or something else."""
    with os.scandir(root / prefix) as listing:
        for entry in listing:
            path = prefix + entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield path, "folder"
                yield from _entries(root, f"{path}/")
            elif path != BUNDLE_FILE or not stat.S_ISREG(mode):
                yield path, "file" if stat.S_ISREG(mode) else "other"


def _shown(text: str) -> str:
    """Text from outside, for a terminal: without control characters, cut where it is long."""
    return escaped(text if len(text) <= 120 else f"{text[:120]}...")
