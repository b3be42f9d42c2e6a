"""``release/<group>``: the engines that a group of robots should run, in one bundle that robots switch to whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.page import Facts, Page, Table
from robot_assets.core.spec import Spec
from robot_assets.core.text import listed, plural
from robot_assets.core.verdict import Verdict
from robot_assets.engines.budgets import BUDGETS, of_foreign_graph
from robot_assets.engines.registry import engine_kind
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.pipeline.kinds.engine import source_of
from robot_assets.profiling.spec import FitSpec

if TYPE_CHECKING:
    from robot_assets.fleet.spec import GroupSpec
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project
    from robot_assets.release.bundle import Bundle

RELEASABLE = "releasable"
_MIB = 2**20


class ReleasedModel(Spec):
    """What a release has of one model.

    Attributes:
        onnx: Asset of the ONNX that its engine is built from, with the reference answers.
        dataset: Asset of the data set with the reference images.
        budgets: The budgets that its engine is judged by on the target.
    """

    onnx: str
    dataset: str
    budgets: dict[str, float]


class ReleaseSpec(Spec):
    """The engines of a release, and what they have to keep.

    Attributes:
        group: Of robots.
        target: That they run on.
        models: By name.
        trusted_keys: Whose signatures count; none: the key of the checkout.
        demanded: Budgets of the group.
        fit: Limits of the profile of the target; None: it has no profile.
    """

    group: str
    target: str
    models: dict[str, ReleasedModel]
    trusted_keys: tuple[str, ...]
    demanded: dict[str, float]
    fit: FitSpec | None


@dataclass(frozen=True)
class Released:
    """The result of a step.

    Attributes:
        bundle: What the release has.
        figures: For each model, the measured figures in the signed results of its gates.
        is_published: Whether this step has published it. Else the rollout does, where it has the key.
    """

    bundle: Bundle
    figures: Mapping[str, Mapping[str, Any]]
    is_published: bool


def stages(params: Params) -> Iterator[Stage]:
    """One for each group of robots."""
    for name, group in params.fleet.groups.items():
        yield _stage(name, group, _spec(params, name, group), params)


def _spec(params: Params, name: str, group: GroupSpec) -> ReleaseSpec:
    target = params.targets[group.target]
    demanded = group.budgets.model_dump(exclude_none=True)
    return ReleaseSpec(
        group=name,
        target=group.target,
        models={model: _released(params, model, group.target) for model in sorted(set(group.models))},
        trusted_keys=params.provenance.trusted_keys,
        demanded=demanded,
        fit=target.profile.fit if target.profile else None,
    )


def _released(params: Params, model: str, target: str) -> ReleasedModel:
    described, gate = params.models[model], params.targets[target].gate
    judged = of_foreign_graph(gate) if described.is_imported else gate
    budgets = {name: limit for one in BUDGETS for name, limit in judged.of(one).items()}
    return ReleasedModel(onnx=source_of(model, described), dataset=names.dataset(described.dataset), budgets=budgets)


def _stage(name: str, group: GroupSpec, spec: ReleaseSpec, params: Params) -> Stage:
    manifest = entry(engine_kind(params.targets[group.target].kind).manifest)
    decides = spec.model_dump(mode="json", include={"group", "target", "models", "trusted_keys"})
    profile = (names.profile(group.target),) if spec.fit else ()
    read = [names.engine(model, group.target) for model in spec.models]
    read += [asset for model in spec.models.values() for asset in (model.onnx, model.dataset)]
    judged = spec.model_dump(mode="json", include={"demanded", "fit", "models", "trusted_keys"})
    releasable = Gate(
        RELEASABLE,
        "Every engine is signed with all gates passed, within the budgets of the group; all that it was made of is in "
        "the store, and the engines fit together on the device.",
        (entry(judge), manifest),
        {"releasable": judged},
        profile,
    )
    return Stage(
        names.release(name),
        KIND.name,
        (entry(run), manifest),
        {"release": decides},
        tuple(dict.fromkeys((*read, *profile))),
        (releasable,),
        spec=spec,
    )


def run(step: Step) -> Released:
    """Build the release, and publish it where there is a distribution repository and the key to do so."""
    from robot_assets.provenance.verify import read_envelopes
    from robot_assets.release.building import Ingredients, build_release, take_reference

    spec, trust = step.spec, step.project.trust()
    models = []
    for model, released in spec.models.items():
        asset = names.engine(model, spec.target)
        engine = step.inputs[asset]
        reference, recorded = take_reference(engine, step.inputs[released.onnx], step.inputs[released.dataset])
        envelopes = read_envelopes(engine, step.store)
        models.append(Ingredients(model, asset, engine, envelopes, reference, recorded))
    built = build_release(spec.group, spec.target, models, trust, step.output, tuple(step.inputs.values()))
    version = step.store.digest_of(step.output).digest
    is_published = publish(step.project, spec.group, version, step.output, step.note)
    return Released(built.bundle, built.figures, is_published)


# No byte of a release depends on how it is published, so an edit of that code makes no release stale.
@chosen_by_params
def publish(project: Project, group: str, version: str, release: Path, note: Callable[[str], None]) -> bool:
    """Publish a release, where there is a repository and the key is here; whether the repository has it now.

    Args:
        project: The project.
        group: The group.
        version: Data version of the release.
        release: Its directory.
        note: Adds a line to the log of the run.

    Raises:
        FleetError: The repository cannot be reached or written.
    """
    from robot_assets.fleet.desired import open_repository
    from robot_assets.fleet.keys import has_key
    from robot_assets.fleet.layout import RELEASES_ROLE

    repository = open_repository(project.root, project.params.fleet)
    where = repository.files.name
    if not repository.exists:
        note(f"not published: there is no distribution repository at {where} (robot-assets fleet init makes one)")
        return False
    if not has_key(repository.keys, RELEASES_ROLE):
        note(f"not published: {repository.keys} has no key of the role {RELEASES_ROLE}")
        return False
    is_new = repository.publish_release(group, version, release)
    note(f"{'published at' if is_new else 'already published at'} {where}: {group} {version}")
    return True


def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Judge the release by signed statements, the store and the profile of the target."""
    from robot_assets.release.releasable import Demands, check_releasable

    spec = step.stage.spec
    demands = Demands(
        budgets=spec.demanded,
        judged={name: model.budgets for name, model in spec.models.items()},
        profile=step.inputs[names.profile(spec.target)] if spec.fit else None,
        fit=spec.fit,
    )
    project = step.project
    return {RELEASABLE: check_releasable(step.artifact, demands, project.trust(), project.store, _has_bytes)}


def _has_bytes(asset: str) -> bool:
    """Whether versions of an asset have bytes: that of a device is its fingerprint."""
    return names.PLATFORM.parse(asset) is None


def facts(released: Released) -> Facts:
    """Engines, size, and whether robots can get it."""
    bundle = released.bundle
    size = bundle.size_bytes / _MIB
    published = ", published" if released.is_published else ""
    return Facts(
        f"{plural(len(bundle.models), 'engine')} for {bundle.target}, {size:.1f} MiB{published}",
        {
            "models": listed(bundle.models),
            "engines": {model.asset: model.version for model in bundle.models.values()},
            "size_mib": round(size, 3),
            "files": len(bundle.files),
            "platform_fingerprint": bundle.platform_fingerprint,
            "published_by_this_step": released.is_published,
        },
    )


def page(step: Step, released: Released) -> Page:
    """Each engine with its size, its budgets, and what its gates have measured."""
    bundle = released.bundle
    rows = {name: _row(bundle, name, released.figures.get(name, {})) for name in bundle.models}
    return Page((Table("engine", rows),))


def _row(bundle: Bundle, name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of one engine: a measured figure, and its budget where it has one."""
    model = bundle.models[name]
    size = sum(file.size for file in bundle.files if file.path.startswith(f"{model.folder}/")) / _MIB
    columns = {
        "accuracy lost, points": ("drop_points", "accuracy_drop_points_max"),
        "differing share": ("differing_share", "parity_differing_share_max"),
        "p95, ms": ("latency_ms_p95", "latency_ms_p95_max"),
        "p99, ms": ("latency_ms_p99", "latency_ms_p99_max"),
        "memory, MiB": ("memory_mib", "memory_mib_max"),
    }
    measured = {title: _figure(figures.get(key), model.budgets.get(limit)) for title, (key, limit) in columns.items()}
    return {"version": model.version[:12], "decoder": model.decoder, "size, MiB": round(size, 2), **measured}


def _figure(value: Any, budget: float | None) -> str:
    shown = f"{value:.4g}" if isinstance(value, int | float) else "-"
    return shown if budget is None else f"{shown} (budget {budget:g})"


KIND = StageKind(
    name="release",
    pattern=names.RELEASE,
    group="fleet",
    traits=AssetTraits(role="Release", files=("bundle.json",)),
    stages=stages,
    production=Production(
        description="The engines that the robots of {group} should run, in one bundle that they switch to as a whole.",
        policy="auto",
        tools=("tuf",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
        fleet_keys=("releases",),
    ),
)
