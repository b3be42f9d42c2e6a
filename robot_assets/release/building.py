"""Builds a release: the engines of a group with their signed statements and reference answers, in one directory.

Budgets are those that the signed results of the gates state, so that they are the ones that the engines were judged by.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_assets.core.documents import write_json
from robot_assets.core.publishing import publishing_directory
from robot_assets.engines.budgets import FOREIGN_DIFFERING_SHARE_MAX
from robot_assets.engines.load import load_manifest
from robot_assets.engines.parity import read_recorded
from robot_assets.export.parity import DIFFERING_SHARE_MAX
from robot_assets.lineage.license_notice import carry_notice
from robot_assets.provenance.evidence import GateResults, gather
from robot_assets.provenance.subjects import BUNDLE, Subject, differences, read_subjects, version_of
from robot_assets.release.budgets import judged_budgets
from robot_assets.release.bundle import BUNDLE_FILE, REFERENCE, Bundle, BundledFile, BundledModel, parse_bundle
from robot_assets.release.errors import ReleaseError
from robot_assets.release.reference import Reference, read_reference, write_reference
from robot_assets.runtime.manifest import Manifest
from robot_assets.runtime.preprocess import fitted

if TYPE_CHECKING:
    from robot_assets.data.packed import PackedSplit
    from robot_assets.provenance.public_key import Trust

IMAGES_MAX = 4
"""Reference images of an engine: a robot runs them while it does not serve."""

REFERENCE_BYTES_MAX = 16 << 20
"""Fewer images are taken where heads or images are large; never none."""


@dataclass(frozen=True)
class Ingredients:
    """What a release has of one model.

    Attributes:
        model: Its name.
        asset: Name of the engine.
        engine: Directory of the engine.
        envelopes: Signed statements about it, in any order; those of other engines are left out.
        reference: Images and expected heads.
        recorded_images: Images that the gate ``parity`` compared, of which ``reference`` has some.
    """

    model: str
    asset: str
    engine: Path
    envelopes: Sequence[bytes]
    reference: Reference
    recorded_images: int


def take_reference(engine: Path, onnx: Path, dataset: Path) -> tuple[Reference, int]:
    """Reference images and answers of an engine, and the number of images that its ONNX artifact has answers on.

    Args:
        engine: Directory of the engine.
        onnx: The ONNX artifact that it was built from.
        dataset: The packed data set on whose val split the answers were recorded.

    Raises:
        EngineError: There is no engine.
        ExportError: The ONNX artifact is incomplete.
        DataError: The data set is incomplete.
    """
    from robot_assets.data.packed import open_split

    interface = load_manifest(engine).interface
    recorded = read_recorded(onnx, interface)
    val = open_split(dataset, "val")
    rows = _spread(len(recorded.indices), IMAGES_MAX)
    images = np.stack([_image(val, recorded.indices[row], interface.input) for row in rows])
    heads = tuple(
        np.concatenate([recorded.heads[row][number] for row in rows]) for number in range(len(interface.heads))
    )
    return _small(Reference(images, heads)), len(recorded.indices)


@dataclass(frozen=True)
class BuiltRelease:
    """The result of a build.

    Attributes:
        bundle: What the release has.
        figures: For each model, what its gates have measured, as their signed results state it.
    """

    bundle: Bundle
    figures: Mapping[str, Mapping[str, Any]]


def build_release(
    group: str, target: str, models: Sequence[Ingredients], trust: Trust, out: Path, notices: Sequence[Path] = ()
) -> BuiltRelease:
    """Write a release to ``out``: as a whole or not at all. The same ingredients give the same bytes.

    Args:
        group: The group of robots that it is for.
        target: The target of all engines.
        models: The engines, in any order.
        trust: Whose statements count.
        out: Directory to publish.
        notices: Artifacts whose ``NOTICE`` is carried.

    Raises:
        ReleaseError: An engine has no signed provenance or no signed results of gates, or is for another device than
            the others.
    """
    described = {one.model: _described(one, trust) for one in sorted(models, key=lambda one: one.model)}
    platform, fingerprint = _common_platform({name: found.manifest for name, found in described.items()})
    with publishing_directory(out) as staging:
        for one in models:
            _write_model(staging / one.model, one, described[one.model])
        carry_notice(notices, staging)
        bundle = Bundle(
            group=group,
            target=target,
            platform=platform,
            platform_fingerprint=fingerprint,
            models={name: found.model for name, found in described.items()},
            files=tuple(_files(staging)),
        )
        write_json(staging / BUNDLE_FILE, bundle.model_dump(mode="json"))
        parsed = parse_bundle((staging / BUNDLE_FILE).read_bytes())
    return BuiltRelease(parsed, {name: found.figures for name, found in described.items()})


@dataclass(frozen=True)
class _Described:
    """What is known of an engine before it is copied."""

    manifest: Manifest
    model: BundledModel
    envelopes: tuple[bytes, ...]
    figures: Mapping[str, Any]


def _described(one: Ingredients, trust: Trust) -> _Described:
    subjects, manifest = read_subjects(one.engine), load_manifest(one.engine)
    envelopes = tuple(_about(one, subjects, trust))
    evidence = gather(envelopes, subjects, trust)
    if evidence.provenance is None or evidence.provenance.asset != one.asset:
        raise _unsigned(one, "provenance", gather(one.envelopes, subjects, trust).refusals)
    if evidence.gates is None:
        raise _unsigned(one, "results of its gates", evidence.refusals)
    model = BundledModel(
        asset=one.asset,
        version=version_of(subjects),
        folder=one.model,
        task=manifest.interface.task,
        decoder=manifest.interface.decoder,
        budgets=judged_budgets(evidence.gates),
        tolerance_share=_tolerance_share(evidence.gates, one.recorded_images / len(one.reference.images)),
    )
    figures = {name: value for gate in evidence.gates.figures.values() for name, value in gate.items()}
    return _Described(manifest, model, envelopes, figures)


def _tolerance_share(gates: GateResults, ratio: float) -> float:
    """Share of the reference values that may differ on a robot.

    A robot compares 1 in ``ratio`` of the images that the gate compared, and all differences may be on these.
    """
    parity = gates.figures.get("parity", {})
    limit = parity.get("parity_differing_share_max")
    if not isinstance(limit, int | float):
        measured = parity.get("differing_share")
        known = isinstance(measured, int | float)
        limit = float(measured or 0) + DIFFERING_SHARE_MAX if known else FOREIGN_DIFFERING_SHARE_MAX
    return min(1.0, round(float(limit) * ratio, 6))


def _about(one: Ingredients, subjects: Sequence[Subject], trust: Trust) -> Iterator[bytes]:
    """The newest provenance and the newest result of each gate, about exactly these files, one line each.

    Engines of two targets may be the same bytes: provenance of the other one is left out.
    """
    lines = sorted({b" ".join(envelope.split(b"\n")).strip() for envelope in one.envelopes})
    newest: dict[str, tuple[Any, bytes]] = {}
    for line in lines:
        found = gather([line], subjects, trust)
        made, gates = found.provenance, found.gates
        if made is not None and made.asset == one.asset and not differences(subjects, made.subjects):
            newest["provenance"] = max(newest.get("provenance", (made.made_at, line)), (made.made_at, line))
        elif gates is not None:
            for name in (*gates.passed_gates, *gates.failed_gates):
                newest[f"gate {name}"] = max(newest.get(f"gate {name}", (gates.made_at, line)), (gates.made_at, line))
    return iter(sorted({line for _, line in newest.values()}))


def _unsigned(one: Ingredients, what: str, refusals: Sequence[str]) -> ReleaseError:
    why = f": {'; '.join(refusals)}" if refusals else ""
    return ReleaseError(
        f"no trusted key has signed the {what} of {one.asset}{why}",
        needed="signed provenance and gate results of every engine, by a key of provenance.trusted_keys in params.yaml",
        fix=f"robot-assets build {one.asset}   # where the signing key is: a build signs",
    )


def _common_platform(manifests: Mapping[str, Manifest]) -> tuple[dict[str, Any], str]:
    """Platform and fingerprint of all engines."""
    fingerprints = {name: manifest.platform_fingerprint for name, manifest in manifests.items()}
    if len(set(fingerprints.values())) != 1:
        shown = ", ".join(f"{name} for {value[:12]}" for name, value in fingerprints.items())
        raise ReleaseError(
            f"the engines were built for different devices: {shown}",
            needed="engines of one target, all built since its device changed last",
            fix="robot-assets status   # then build the engines that are stale",
        )
    first = next(iter(manifests.values()))
    return dict(first.platform), first.platform_fingerprint


def _write_model(folder: Path, one: Ingredients, described: _Described) -> None:
    for subject in read_subjects(one.engine):
        (folder / subject.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.engine / subject.name, folder / subject.name)
    (folder / BUNDLE).write_bytes(b"".join(envelope + b"\n" for envelope in described.envelopes))
    write_reference(folder / REFERENCE, one.reference)
    read_reference(folder / REFERENCE, described.manifest.interface)  # refused here rather than on every robot


def _files(release: Path) -> Iterator[BundledFile]:
    for path in sorted(one for one in release.rglob("*") if one.is_file()):
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        yield BundledFile(path=path.relative_to(release).as_posix(), sha256=sha256, size=path.stat().st_size)


def _image(split: PackedSplit, index: int, input: Any) -> Any:
    return fitted(split.image(index), input).image


def _spread(count: int, most: int) -> list[int]:
    """Evenly spaced indices of at most ``most`` of ``count``."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(most, count))})


def _small(reference: Reference) -> Reference:
    """The first images that together keep to the size limit; at least one."""
    each = reference.size_bytes / len(reference.images)
    return reference.first(max(1, min(len(reference.images), int(REFERENCE_BYTES_MAX / each))))
