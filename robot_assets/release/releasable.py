"""The gate ``releasable``: whether robots may have a release, by signed statements, the store and the profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_assets.core.errors import ObjectCorrupt
from robot_assets.core.text import listed, plural
from robot_assets.core.verdict import Verdict
from robot_assets.profiling.fit import check_fit
from robot_assets.profiling.result import Profile, load_profile
from robot_assets.profiling.spec import FitSpec
from robot_assets.provenance.evidence import Provenance, gather
from robot_assets.provenance.public_key import Trust
from robot_assets.release.budgets import judged_budgets
from robot_assets.release.bundle import Bundle
from robot_assets.release.verifying import (
    BundledEngine,
    check_contents,
    check_statements,
    parse_bundle,
    read_bundle,
    read_engine,
)
from robot_assets.runtime.manifest import Manifest
from robot_assets.store import Store

_SHOWN = 5
_ASSET = re.compile(r"urn:robot-assets:asset:(?P<asset>[^@]+)@(?P<version>.+)")
_CODE = "code of "


@dataclass(frozen=True)
class Demands:
    """What a release has to keep, by params.yaml.

    Attributes:
        budgets: Budgets of the group, by the names of ``targets.T.gate``.
        judged: For each model, the budgets that its gates are judged by now.
        profile: The profile of the target; None: it has none.
        fit: Limits of that profile.
    """

    budgets: Mapping[str, float]
    judged: Mapping[str, Mapping[str, float]]
    profile: Path | None = None
    fit: FitSpec | None = None


@dataclass(frozen=True)
class Fault:
    """One reason why a release is not releasable.

    Attributes:
        why: What was found.
        fix: What to do now.
    """

    why: str
    fix: str


def check_releasable(
    release: Path, demands: Demands, trusted: Trust, store: Store, has_bytes: Callable[[str], bool]
) -> Verdict:
    """Judge a release.

    Args:
        release: Its directory.
        demands: What it has to keep.
        trusted: Whose signatures count.
        store: Has everything that the engines were made of.
        has_bytes: Whether versions of an asset have bytes that a store keeps; the fingerprint of a device has none.

    Raises:
        ReleaseError: It has no valid bundle.json.
        ProvenanceError: Its files cannot be read.
        StoreError: The store cannot be read.
    """
    bundle = parse_bundle(read_bundle(release))
    contents = check_contents(release, bundle)
    if not contents.passed:
        return Verdict(False, contents.why, f"robot-assets build release/{bundle.group}")
    engines = [read_engine(release, bundle, name, trusted) for name in bundle.models]
    faults = list(dict.fromkeys(_faults(engines, bundle, demands, trusted, store, has_bytes)))
    facts = _facts(engines, bundle, faults)
    if not faults:
        return Verdict(True, _summary(bundle, engines, demands), "", facts)
    shown = [fault.why for fault in faults[:_SHOWN]] + ([f"and {len(faults) - _SHOWN} more"] * (len(faults) > _SHOWN))
    return Verdict(False, "; ".join(shown), ". ".join(dict.fromkeys(fault.fix for fault in faults[:_SHOWN])), facts)


def _faults(
    engines: Sequence[BundledEngine],
    bundle: Bundle,
    demands: Demands,
    trusted: Trust,
    store: Store,
    has_bytes: Callable[[str], bool],
) -> Iterator[Fault]:
    for engine in engines:
        yield from _statement_faults(engine, demands, trusted)
        yield from _newer_failures(engine, trusted, store)
        if (made := engine.evidence.provenance) is not None:
            yield from _lineage_faults(engine, made, store, has_bytes)
    if demands.profile is not None and demands.fit is not None:
        yield from _profile_faults(engines, bundle, demands.profile, demands.fit)


def _statement_faults(engine: BundledEngine, demands: Demands, trusted: Trust) -> Iterator[Fault]:
    """Faults that the statements of an engine show."""
    asset, group = engine.model.asset, engine.bundle.group
    rebuild = f"robot-assets build {asset} && robot-assets build release/{group}"
    fixes = {
        "signature": "if the signer is one of yours, add its key to provenance.trusted_keys in params.yaml; else "
        f"materialize {asset} again (robot-assets ui): a build signs",
        "gates": f"{rebuild}   # the page of the failed gate has the fix",
        "budgets": f"lower the budgets under targets.{engine.bundle.target}.gate in params.yaml, or raise those under "
        f"fleet.groups.{group}.budgets",
    }
    for check in check_statements(engine, trusted, demands.budgets):
        if not check.passed:
            yield Fault(f"{asset}: {check.why}", fixes.get(check.name, rebuild))
    gates = engine.evidence.gates
    now = demands.judged.get(engine.name)
    if gates is not None and now is not None and judged_budgets(gates) != now:
        yield Fault(f"{asset}: its gates were judged by other budgets than those of params.yaml now", rebuild)


def _newer_failures(engine: BundledEngine, trusted: Trust, store: Store) -> Iterator[Fault]:
    """Gates that have failed since the release was built, as the newest statements in the store say."""
    asset, released = engine.model.asset, engine.evidence.gates
    found = gather(store.attestations(engine.model.version).values(), engine.subjects, trusted).gates
    if found is not None and found.failed_gates and (released is None or found.made_at > released.made_at):
        why = f"{asset}: {listed(found.failed_gates)} failed since the release was built"
        yield Fault(why, f"robot-assets build {asset}   # the page of the failed gate has the fix")


def _lineage_faults(
    engine: BundledEngine, made: Provenance, store: Store, has_bytes: Callable[[str], bool]
) -> Iterator[Fault]:
    """Faults of what an engine was made of, as its signed provenance states it."""
    for dependency in made.dependencies:
        name, annotations = str(dependency["name"]), dependency.get("annotations", {})
        if name.startswith(_CODE):
            if annotations.get("uncommittedChanges") is not False:
                asset = name.removeprefix(_CODE)
                yield Fault(f"{asset}: its code was not committed", f"git commit -a && robot-assets build {asset}")
        elif stated := _ASSET.fullmatch(str(dependency.get("uri", ""))):
            yield from _ancestor_faults(stated["asset"], stated["version"], annotations, store, has_bytes)


def _ancestor_faults(
    asset: str, version: str, annotations: Mapping[str, Any], store: Store, has_bytes: Callable[[str], bool]
) -> Iterator[Fault]:
    """Faults of one version that an engine was made of."""
    failed = [gate for gate, result in annotations.get("gates", {}).items() if result != "PASSED"]
    if failed:
        yield Fault(f"{asset}: {listed(failed)} failed", f"robot-assets build {asset}   # its page has the fix")
    if "runId" not in annotations and "observedOn" not in annotations:
        yield Fault(f"{asset}: there is no record of how {version} was made", f"robot-assets build {asset}")
    if has_bytes(asset) and not _is_stored(store, version):
        fix = f"robot-assets build {asset}   # or push the bytes from a machine that has them"
        yield Fault(f"{asset}: {version} is no longer in the store", fix)


def _is_stored(store: Store, version: str) -> bool:
    try:
        return store.has(version)
    except ObjectCorrupt:
        return False


def _profile_faults(engines: Sequence[BundledEngine], bundle: Bundle, path: Path, fit: FitSpec) -> Iterator[Fault]:
    """Whether the profile of the target has exactly these engines, and they fit."""
    asset, profile = f"profile/{bundle.target}", load_profile(path)
    verdict = check_fit(path, fit)
    if not verdict.passed:
        yield Fault(f"{asset}: {verdict.summary}", verdict.fix)
    if profile.platform_fingerprint != bundle.platform_fingerprint:
        yield Fault(f"{asset} was measured on another device", f"robot-assets build {asset}")
    for engine in engines:
        yield from _unmeasured(engine, profile, asset, bundle)


def _unmeasured(engine: BundledEngine, profile: Profile, asset: str, bundle: Bundle) -> Iterator[Fault]:
    """Where a profile has no stream of an engine: not of its model, or of another version."""
    manifest = engine.manifest
    if not isinstance(manifest, Manifest) or manifest.engine_md5 in {one.engine_md5 for one in profile.streams}:
        return
    if any(re.fullmatch(rf"{engine.name}( \d+)?", one.name) for one in profile.streams):
        yield Fault(f"{asset} was measured with another engine of {engine.name}", f"robot-assets build {asset}")
        return
    fix = f"add {engine.name} to targets.{bundle.target}.profile.models in params.yaml, or remove it from the group"
    yield Fault(f"{asset} has no measurement of {engine.name}", fix)


def _summary(bundle: Bundle, engines: Sequence[BundledEngine], demands: Demands) -> str:
    made = [engine.evidence.provenance for engine in engines]
    ancestors = {str(one["uri"]) for found in made if found for one in found.dependencies if "uri" in one}
    assets = sum(1 for uri in ancestors if _ASSET.fullmatch(uri))
    fits = "" if demands.profile is None else f", which fit together on {bundle.target}"
    return (
        f"{plural(len(engines), 'signed engine')}{fits}, with all gates passed; {plural(assets, 'version')} that they "
        "were made of are in the store"
    )


def _facts(engines: Sequence[BundledEngine], bundle: Bundle, faults: Sequence[Fault]) -> dict[str, object]:
    return {
        "engines": {engine.model.asset: engine.model.version for engine in engines},
        "signed_by": sorted({str(made.signer) for one in engines if (made := one.evidence.provenance) is not None}),
        "budgets": {engine.model.asset: dict(engine.model.budgets) for engine in engines},
        "size_bytes": bundle.size_bytes,
        "faults": [fault.why for fault in faults],
    }
