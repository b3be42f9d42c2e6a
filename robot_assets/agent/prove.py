"""The gates on the robot: each engine of a release repeats its reference answers here, within the budgets.

Engines run one after the other in processes of their own (``robot_assets.agent.prove_process``): one that crashes,
hangs or takes all memory fails its proof, and the agent goes on. Several engines also have to load at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from robot_assets.agent.command import Outcome, run
from robot_assets.agent.prove_process import Measured, Request, Result
from robot_assets.agent.spec import RobotSpec
from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.fleet.errors import AgentError
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, BundledModel, parse_bundle, refused

ENGINE_LIMIT_S: Final = 300.0
"""For one engine: to load, answer and be timed. TensorRT takes tens of seconds to load a large one."""

TIMING_LIMIT_S: Final = 60.0
ATTEMPTS: Final = 3
"""Measurements of an engine that exceeds a budget: other processes of the robot slow down single ones."""

_MEASURED = ("latency_ms_p95_max", "latency_ms_p99_max", "memory_mib_max")
"""Budgets that are measured again on the robot. The others were kept where the engine was built, and are verified."""

_MODULE = "robot_assets.agent.prove_process"
_PACKAGE_ROOT = str(Path(__file__).parents[2])
_RESULT_BYTES_MAX = 1 << 16


@dataclass(frozen=True)
class _Limit:
    """A budget and who gives it: ``robot.yaml`` or ``the release``."""

    value: float
    giver: str


@dataclass(frozen=True)
class _Failure:
    """Why a proof failed, and what can be done."""

    why: str
    fix: str


@dataclass(frozen=True)
class _Proof:
    """What the proof of one engine, or of all together, has found."""

    passed: str
    facts: Mapping[str, Any]
    failures: tuple[_Failure, ...] = ()


def prove(release: Path, robot: RobotSpec) -> Verdict:
    """Prove a release on this robot.

    Raises:
        AgentError: A gate failed; with its figures in ``details``.
        ReleaseError: ``bundle.json`` is not that of a release.
    """
    verdict = judge(release, robot)
    if not verdict.passed:
        raise AgentError(
            verdict.summary,
            needed="a release that passes its gates on this robot",
            fix=verdict.fix,
            details=verdict.facts,
        )
    return verdict


def judge(release: Path, robot: RobotSpec) -> Verdict:
    """Run the gates of the robot on a release, engine by engine.

    Raises:
        ReleaseError: ``bundle.json`` is not that of a release.
    """
    bundle = _read_bundle(release)
    proofs = {name: _prove_engine(release / model.folder, model, robot) for name, model in bundle.models.items()}
    if len(proofs) > 1 and not any(proof.failures for proof in proofs.values()):
        proofs["all together"] = _prove_together(release, bundle, robot)
    failures = [
        _Failure(f"{name}: {failure.why}", failure.fix) for name, proof in proofs.items() for failure in proof.failures
    ]
    return Verdict(
        passed=not failures,
        summary="; ".join(
            [one.why for one in failures] or [f"{name}: {proof.passed}" for name, proof in proofs.items()]
        ),
        fix="; ".join(dict.fromkeys(one.fix for one in failures)),
        facts={name: dict(proof.facts) for name, proof in proofs.items()},
    )


def _read_bundle(release: Path) -> Bundle:
    try:
        return parse_bundle((release / BUNDLE_FILE).read_bytes())
    except OSError as error:
        raise refused(f"{release / BUNDLE_FILE}: {error.strerror}") from None


def _prove_engine(engine: Path, model: BundledModel, robot: RobotSpec) -> _Proof:
    """Measure an engine; once more where only a budget was exceeded."""
    proof = _Proof("", {})
    for attempt in range(1, ATTEMPTS + 1):
        found = _measure([engine], model)
        if not isinstance(found, Measured):
            return _Proof("", {"failure": found.why}, (found,))
        answers, budgets = tuple(_wrong_answers(model, found)), tuple(_exceeded(model, robot, found))
        facts = {**found.model_dump(mode="json"), "attempts": attempt, **_limit_facts(model, robot)}
        proof = _Proof(_passed(model, robot, found), facts, (*answers, *budgets))
        if answers or not budgets:
            break
    return proof


def _wrong_answers(model: BundledModel, found: Measured) -> Iterator[_Failure]:
    share = found.differing_share
    if share is not None and share <= model.tolerance_share:
        return
    measured = "were not compared" if share is None else f"differ in {100 * share:.3g} % of their values"
    yield _Failure(
        f"the answers to {plural(found.images, 'reference image')} {measured}, at most by {found.largest}; "
        f"{100 * model.tolerance_share:g} % may differ",
        f"robot-assets engine inspect {model.version}   # in the project: what it was built with, unlike this robot",
    )


def _exceeded(model: BundledModel, robot: RobotSpec, found: Measured) -> Iterator[_Failure]:
    """The budgets that a figure exceeds, or that have no figure."""
    inferences = plural(int(found.latency.get("inferences", 0)), "inference")
    figures = {
        "latency_ms_p95_max": (found.latency.get("latency_ms_p95"), "ms", f"p95 of {inferences}"),
        "latency_ms_p99_max": (found.latency.get("latency_ms_p99"), "ms", f"p99 of {inferences}"),
        "memory_mib_max": (found.memory_mib, "MiB", f"the memory of the {found.memory_of} that it takes"),
    }
    for name, (value, unit, what) in figures.items():
        limit = _limit(name, model, robot)
        if limit is None or (value is not None and value <= limit.value):
            continue
        measured = "cannot be measured on this device" if value is None else f"is {value:.4g} {unit}"
        yield _Failure(
            f"{what} {measured}, {limit.giver} allows {limit.value:g} {unit} ({name})",
            f"robot-assets engine bench {model.version}   # in the project, on an idle device of this kind",
        )


def _limit(name: str, model: BundledModel, robot: RobotSpec) -> _Limit | None:
    """The tighter of the two budgets of one name; None where neither the robot nor the release has one."""
    given = {"robot.yaml": getattr(robot.budgets, name), "the release": model.budgets.get(name)}
    limits = [_Limit(value, giver) for giver, value in given.items() if value is not None]
    return min(limits, key=lambda limit: limit.value, default=None)


def _limit_facts(model: BundledModel, robot: RobotSpec) -> dict[str, Any]:
    limits = {name: _limit(name, model, robot) for name in _MEASURED}
    return {
        "differing_share_max": model.tolerance_share,
        **{name: asdict(limit) for name, limit in limits.items() if limit is not None},
    }


def _passed(model: BundledModel, robot: RobotSpec, found: Measured) -> str:
    share, count = found.differing_share or 0.0, int(found.latency.get("inferences", 0))
    latency, memory = _limit("latency_ms_p95_max", model, robot), _limit("memory_mib_max", model, robot)
    taken = "" if found.memory_mib is None else f", {found.memory_mib:.1f} MiB of memory{_budget(memory)}"
    return (
        f"{100 * share:.3g} % of the values of {plural(found.images, 'reference answer')} differ "
        f"(at most {100 * model.tolerance_share:g} %), p95 {found.latency.get('latency_ms_p95', 0):.4g} ms over "
        f"{plural(count, 'inference')}{_budget(latency)}{taken}"
    )


def _budget(limit: _Limit | None) -> str:
    return f" (at most {limit.value:g}, by {limit.giver})" if limit else " (no budget)"


def _prove_together(release: Path, bundle: Bundle, robot: RobotSpec) -> _Proof:
    """Load all engines at once. Their memory may not exceed the sum of their budgets, where each has one."""
    models = list(bundle.models.values())
    engines = [release / model.folder for model in models]
    found = _measure(engines, models[0])
    if not isinstance(found, Measured):
        return _Proof("", {"failure": found.why}, (found,))
    limits = [_limit("memory_mib_max", model, robot) for model in models]
    known = [limit.value for limit in limits if limit is not None]
    budget = sum(known) if len(known) == len(engines) else None
    facts = {**found.model_dump(mode="json", include={"memory_mib", "memory_of"}), "memory_mib_max": budget}
    if budget is None or (found.memory_mib is not None and found.memory_mib <= budget):
        taken = "" if found.memory_mib is None else f" with {found.memory_mib:.1f} MiB of memory"
        return _Proof(f"{plural(len(engines), 'engine')} are loaded at once{taken}", facts)
    measured = "cannot be measured on this device" if found.memory_mib is None else f"is {found.memory_mib:.1f} MiB"
    why = f"the memory of {plural(len(engines), 'engine')} {measured}, their budgets allow {budget:g} MiB together"
    return _Proof(
        "", facts, (_Failure(why, "robot-assets profile --help   # measures engines together, on such a device"),)
    )


def _measure(engines: Sequence[Path], model: BundledModel) -> Measured | _Failure:
    """Run the process; a failure where it crashes, hangs, or reports an error. ``model``: that of the first engine."""
    request = Request(engines=tuple(map(str, engines)), seconds=TIMING_LIMIT_S)
    outcome, content = _run_process(request, ENGINE_LIMIT_S * len(engines))
    if outcome.code != 0:
        return _crash(outcome, outcome.how, model)
    try:
        result = Result.model_validate_json(content)
    except ValidationError:
        result = Result()
    if result.problem is not None:
        return _Failure(f"{result.problem.found}; needed: {result.problem.needed}", result.problem.fix)
    return result.measured or _crash(outcome, f"{outcome.how} and measured nothing", model)


def _crash(outcome: Outcome, how: str, model: BundledModel) -> _Failure:
    if outcome.signal == signal.SIGKILL:
        return _Failure(
            "the proof was ended by SIGKILL, most likely since memory ran out",
            "sudo dmesg | grep -i 'out of memory'   # what the kernel has killed",
        )
    return _Failure(f"the proof {how}", f"robot-assets engine bench {model.version}   # in the project: runs it alone")


def _run_process(request: Request, limit_s: float) -> tuple[Outcome, bytes]:
    """How the process ended, and the line that it wrote."""
    reading, writing = os.pipe()
    try:
        command = [sys.executable, "-m", _MODULE, str(writing), request.model_dump_json()]
        path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH"))))
        outcome = run(command, limit_s, {**os.environ, "PYTHONPATH": path}, (writing,))
    finally:
        os.close(writing)
        with os.fdopen(reading, "rb") as results:
            os.set_blocking(reading, False)
            content = results.read(_RESULT_BYTES_MAX) or b""
    return outcome, content
