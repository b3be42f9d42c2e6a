"""``robot-assets engine profile``: several engines together on this device, at the rates of their sensors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.engine import open_engine
from robot_assets.core.errors import ParamsError
from robot_assets.core.text import escaped, listed, near_misses
from robot_assets.pipeline import names
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from robot_assets.core.verdict import Verdict
    from robot_assets.profiling.result import Profile
    from robot_assets.profiling.spec import ProfileSpec

    _Chosen: TypeAlias = tuple[str, ProfileSpec, dict[str, Path]]
    """Name of the measurement, its parameters, and the folders of the engines by stream."""

_SHOWN = ("Hz", "deadline ms", "missed", "p50 ms", "p99 ms", "max ms", "alone p50", "alone p99", "busy", "MiB")
"""Columns that fit into a terminal; the page of the asset and ``--json`` have the others."""


def profile(
    engines: Annotated[
        list[str],
        typer.Argument(
            metavar="ENGINE=HZ... | TARGET",
            help="Engines, each with the frames a second of its sensor; or one target with a profile in params.yaml.",
            autocompletion=completion.targets,
        ),
    ],
    seconds: Annotated[float | None, typer.Option(help="All together; as params.yaml, or 20.")] = None,
    alone: Annotated[float | None, typer.Option(help="Each alone before; as params.yaml, or 5.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="PNG to write: timeline and latencies.")] = None,
    trace: Annotated[Path | None, typer.Option(help="JSON to write: every job, for Perfetto.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run several engines together on this device, and check that they fit. Exit code 1 when they do not.

    An engine that is given twice has two sensors. The deadline of a frame is one period of its sensor.

    Example: robot-assets engine profile sidewalk_detector/engine/cpu=15 robocup_detector/engine/cpu=10
    """
    from robot_assets.profiling.fit import judge
    from robot_assets.profiling.streams import streams_of
    from robot_assets.profiling.subprocess_run import measure_in_subprocess

    name, spec, opened = _of_target(engines[0]) if _names_a_target(engines) else _of_pairs(engines)
    spec = _checked({**spec.model_dump(), **_given(duration_s=seconds, alone_s=alone)})
    streams = streams_of(spec, opened)
    with progress_bars():
        found = measure_in_subprocess(name, streams, spec.duration_s, spec.alone_s)
    verdict = judge(found.profile, spec.fit)
    if out is not None:
        from robot_assets.profiling.figure import draw

        _write(out, draw(found, spec.fit))
    if trace is not None:
        from robot_assets.profiling.trace import trace_bytes

        _write(trace, trace_bytes(streams, found.jobs))
    data = {"fits": verdict.passed, "summary": verdict.summary, "fix": verdict.fix}
    answer({**data, **found.profile.model_dump(mode="json")}, as_json, lambda: _print(found.profile, verdict))
    if not verdict.passed:
        raise typer.Exit(1)


def _names_a_target(engines: Sequence[str]) -> bool:
    """One word without a rate, which is neither the name nor the directory of an engine."""
    [first, *others] = engines
    return not others and "=" not in first and "/" not in first and not Path(first).is_dir()


def _of_target(target: str) -> _Chosen:
    """The profile of a target in params.yaml, with the present engines of its models."""
    params = find_project().params
    if target not in params.targets:
        near = near_misses(target, params.targets, at_most=1)
        raise ParamsError(
            f"params.yaml has no target {target!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            needed=f"a target with a profile, or ENGINE=HZ; the targets are {listed(params.targets) or 'none'}",
            fix=f"robot-assets engine profile {near[0]}" if near else "robot-assets engine profile --help",
        )
    spec = params.profile_of(target)
    return target, spec, {model: open_engine(names.engine(model, target)) for model in spec.models}


def _of_pairs(pairs: Sequence[str]) -> _Chosen:
    """Engines with the rates that were typed."""
    models: dict[str, dict[str, str]] = {}
    named: dict[str, str] = {}
    for pair in pairs:
        engine, equals, rate = pair.rpartition("=")
        if not equals or not engine:
            raise typer.BadParameter(f"{pair!r} has no rate; needed ENGINE=HZ, such as sidewalk_detector/engine/cpu=15")
        label = next(name for name in _labels(engine) if name not in models)
        models[label] = {"rate_hz": rate}
        named[label] = engine
    spec = _checked({"models": models})
    return "this device", spec, {label: open_engine(engine) for label, engine in named.items()}


def _labels(engine: str) -> Iterator[str]:
    """Names for an engine: its model, its folder, or the first digits of its version; further ones are numbered."""
    if Path(engine).is_dir():
        name = Path(engine).resolve().name
    elif (asset := names.ENGINE.parse(engine)) is not None:
        name = asset.model
    else:
        name = engine[:8] if re.fullmatch(r"[0-9a-f]{32}\.dir", engine) else engine
    yield name
    number = 2
    while True:
        yield f"{name} {number}"
        number += 1


def _given(**options: float | None) -> dict[str, float]:
    return {name: value for name, value in options.items() if value is not None}


def _checked(document: dict[str, object]) -> ProfileSpec:
    """A profile from the command line. Raises typer.BadParameter."""
    from pydantic import ValidationError

    from robot_assets.core.validation import mistakes
    from robot_assets.profiling.spec import ProfileSpec

    try:
        return ProfileSpec.model_validate(document)
    except ValidationError as error:
        raise typer.BadParameter(mistakes(error)[0]) from None


def _write(path: Path, content: bytes) -> None:
    from robot_assets.core.publishing import publishing_file

    with publishing_file(path) as staging:
        staging.write_bytes(content)


def _print(measured: Profile, verdict: Verdict) -> None:
    from rich.table import Table
    from rich.text import Text

    from robot_assets.profiling.table import rows

    table = Table(box=None, header_style="bold", pad_edge=False)
    cells = rows(measured)
    for title in ("", *_SHOWN):
        table.add_column(title.replace(" ", "\n"), justify="right" if title else "left", no_wrap=True)
    for stream in measured.streams:
        style = "bold red" if stream.together.missed else ""
        table.add_row(Text(escaped(stream.name)), *(cells[stream.name][title] for title in _SHOWN), style=style)
    console().print(table, highlight=False)
    _print_machine(measured)
    print(escaped(verdict.summary))
    if not verdict.passed:
        print(f"fix: {escaped(verdict.fix)}")


def _print_machine(measured: Profile) -> None:
    machine = measured.machine
    cores = ", ".join(f"{core}: {percent:.0f} %" for core, percent in machine.core_percent.items())
    others = "" if machine.other_cores is None else f", other processes {machine.other_cores:.2f}"
    stolen = f", stolen by the hypervisor {machine.stolen_ms:.0f} ms" if machine.stolen_ms else ""
    print(f"\nutilization of cores {cores or 'unknown'}; engines {machine.own_cores:.2f} cores{others}{stolen}")
    print(f"memory {measured.memory_mib:.0f} MiB, of which {machine.runtime_mib:.0f} before the first engine")
    if machine.power_w_mean is not None:
        print(f"power {machine.power_w_mean:.1f} W, at most {machine.power_w_max:.1f} W")
    if machine.temperature_c_max is not None:
        print(f"temperature at most {machine.temperature_c_max:.0f} °C")
    jitter = max(stream.together.jitter_ms.p99 for stream in measured.streams)
    print(f"jitter at most {jitter:.2f} ms (p99), from the release of a frame to the start of a free thread\n")
