"""``profile/<target>``: all engines of a robot together on its device, at the rates of their sensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from robot_assets.core.page import Facts, Page, Picture, Table
from robot_assets.core.spec import Spec
from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.engines.registry import engine_kind
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.pipeline.kinds.platform import require_this_device
from robot_assets.profiling.spec import ProfileSpec

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import GateStep, Step
    from robot_assets.pipeline.params import Params
    from robot_assets.profiling.measure import Measurement

_TELEMETRY = ("power_w_mean", "power_w_max", "temperature_c_max")


class ProfileStageSpec(Spec):
    """A profile, and how the device that it is measured on is observed."""

    profile: ProfileSpec
    platform: str


def stages(params: Params) -> Iterator[Stage]:
    """One for each target with a profile. A measurement is never twice the same, so nothing is made of it."""
    for target, described in params.targets.items():
        if described.profile is None:
            continue
        measured = described.profile.model_dump(mode="json")
        budget = measured.pop("fit")
        fits = Gate(
            "fits",
            "Together, the engines miss no more deadlines and take no more memory than the target allows.",
            (entry(judge),),
            budget,
        )
        engines = tuple(names.engine(model, target) for model in described.profile.models)
        yield Stage(
            names.profile(target),
            KIND.name,
            (entry(run), *engine_kind(described.kind).run_code),
            {"profile": measured},
            (*engines, names.platform(target)),
            (fits,),
            pool=target,
            spec=ProfileStageSpec(profile=described.profile, platform=described.platform),
        )


def run(step: Step) -> Measurement:
    """Run all engines together and publish what was measured."""
    from robot_assets.profiling.profile import profile_engines

    target, profile = step.name.target, step.spec.profile
    require_this_device(target, step.spec.platform, step.versions[names.platform(target)])
    engines = {model: step.inputs[names.engine(model, target)] for model in profile.models}
    return profile_engines(target, profile, engines, step.output)


def judge(step: GateStep) -> Mapping[str, Verdict]:
    """Hold what was measured against the budgets."""
    from robot_assets.profiling.fit import check_fit

    return {"fits": check_fit(step.artifact, step.stage.spec.profile.fit)}


def facts(found: Measurement) -> Facts:
    """Deadlines, cores and memory."""
    measured = found.profile
    return Facts(
        f"{measured.missed} of {plural(measured.frames, 'deadline')} missed",
        {
            "frames": measured.frames,
            "deadlines_missed": measured.missed,
            "busiest_core_percent": measured.machine.busiest_core_percent,
            "engines_cores": measured.machine.own_cores,
            "other_cores": measured.machine.other_cores,
            "stolen_ms": measured.machine.stolen_ms,
            "memory_mib": measured.memory_mib,
            "runtime_mib": measured.machine.runtime_mib,
            **_strain(measured.machine),
            "slowdown": {one.name: round(one.slowdown, 3) for one in measured.streams},
            "platform_fingerprint": measured.platform_fingerprint,
        },
    )


def page(step: Step, found: Measurement) -> Page:
    """When each engine worked, and what that cost it."""
    from robot_assets.profiling.figure import draw
    from robot_assets.profiling.fit import headline
    from robot_assets.profiling.table import rows

    fit, measured = step.spec.profile.fit, found.profile
    drawn = Picture(draw(found, fit), "Engines together, and their latencies")
    return Page((drawn, Table("engine", rows(measured))), headline=headline(measured, fit))


def _strain(machine: Any) -> dict[str, float]:
    """Power and temperature, as far as the device shows them."""
    read = {key: getattr(machine, key) for key in _TELEMETRY}
    return {key: value for key, value in read.items() if value is not None}


KIND = StageKind(
    name="profile",
    pattern=names.PROFILE,
    group="profiles",
    traits=AssetTraits(role="Profile"),
    stages=stages,
    production=Production(
        description="All engines of a robot together on {target}, at the rates of their sensors: a measurement.",
        policy="auto",
        tools=("onnx",),
        run=run,
        facts=facts,
        page=page,
        judge=judge,
    ),
)
