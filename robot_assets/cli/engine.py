"""``robot-assets engine``: get, run and time built engines. None of it needs PyTorch, so that it works on robots."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.plugins import asset_opener, extensible
from robot_assets.core.errors import DataError, EngineError, StoreError
from robot_assets.core.extras import MissingLibrary
from robot_assets.core.text import escaped, listed, near_misses, plural
from robot_assets.pipeline import names
from robot_assets.pipeline.project import find_project, project_here

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robot_assets.runtime.engine import Engine

_DIGITS_MIN = 6
"""Digits that name a data version; tables print 12."""

app = typer.Typer(cls=extensible("engine"), help="Get, run and time built engines.", no_args_is_help=True)

EngineArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENGINE",
        help="An asset name, the directory of an engine, or a data version in the store, or its first digits.",
        autocompletion=completion.engines,
    ),
]


@app.command()
def run(
    engine: EngineArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders whose images are taken.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for the drawn images.")],
    score: Annotated[float, typer.Option(min=0.01, max=1.0, help="Lowest score that is drawn, of detections.")] = 0.3,
    as_json: JsonOption = False,
) -> None:
    """Run an engine on IMAGES and draw what it finds. Nothing is drawn unless all images can be read.

    Example: robot-assets engine run sidewalk_detector/engine/cpu street.jpg --out drawn
    """
    from robot_assets.engines.load import load_engine

    paths = [path for given in images for path in _images_of(given)]
    _refuse_equal_names(paths)
    _refuse_file(out)
    loaded = load_engine(open_engine(engine))
    for path in paths:
        _read(path)
    out.mkdir(parents=True, exist_ok=True)
    rows = [_predict(loaded, path, out / f"{path.stem}.png", score) for path in paths]
    answer({"images": rows}, as_json, lambda: _print_rows(rows))


@app.command()
def get(
    engine: EngineArgument,
    out: Annotated[Path, typer.Option("--out", help="Directory to write; an engine in it is replaced.")],
    as_json: JsonOption = False,
) -> None:
    """Write an engine and its signed statements to a directory, for a robot to verify and run.

    Example: robot-assets engine get sidewalk_detector/engine/cpu --out detector
    """
    from robot_assets.provenance.delivery import deliver

    project = project_here()
    done = deliver(open_engine(engine), out, project.store if project else None)
    data = {"out": str(out), "version": done.version, "files": list(done.files), "statements": done.statements}
    answer(data, as_json, lambda: _print_get(data))


@app.command()
def bench(
    engine: EngineArgument,
    against: Annotated[
        Path | None, typer.Option(help="A float ONNX with the same input, timed in turn with the engine.")
    ] = None,
    inferences: Annotated[int, typer.Option(min=10, help="Timed inferences.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Time single inferences on this device, without pre- and post-processing.

    Example: robot-assets engine bench sidewalk_detector/engine/cpu
    """
    from robot_assets.engines.benchmark import compare, measure
    from robot_assets.engines.load import load_manifest

    folder = open_engine(engine)
    with progress_bars():
        if against is None:
            latencies, extra = measure(folder, inferences), {}
        else:
            both = compare(folder, against, inferences)
            latencies, extra = both.engine, {"float32": both.float32.as_json(), "speedup": both.speedup}
    kernels = load_manifest(folder).kernels
    data: dict[str, Any] = {
        "engine": latencies.as_json(),
        "int8_convolutions": kernels.int8_convolutions,
        "float_convolutions": kernels.float_convolutions,
        **extra,
    }
    answer(data, as_json, lambda: _print_bench(data))


def open_engine(engine: str) -> Path:
    """The directory of an engine, by itself, by the name of its asset, or by its data version.

    Raises:
        EngineError: It is none of these.
        StoreError: It is an engine that has not been built, or a version that the store does not have.
    """
    path = Path(engine)
    if path.is_file():
        raise EngineError(
            f"{engine} is a file",
            needed="the directory of an engine, with its manifest.json, or the name of its asset",
            fix=f"ls -la {shlex.quote(str(path.parent))}   # name this directory if it has a manifest.json",
        )
    if path.is_dir() or _version(engine):
        return open_artifact(engine)
    try:
        found = open_asset(engine)
    except StoreError as error:
        raise (_other_than_engine(engine) or error) from None
    if names.ENGINE.parse(engine) is None:
        raise _other_than_engine(engine) or _not_an_engine(engine, "an asset that is not an engine", [])
    return found


def open_artifact(name: str) -> Path:
    """An artifact by its path, by the name of its asset, or by its data version.

    Raises:
        RobotAssetsError: It is none of these, or the store does not have it.
    """
    path = Path(name)
    if path.exists():
        return path
    version = _version(name)
    return find_project().store.open(version) if version else open_asset(name)


def open_asset(name: str) -> Path:
    """The present version of an asset.

    Raises:
        EngineError: Nothing here can open assets by name.
        RobotAssetsError: There is no such asset, or it has not been built.
    """
    opener = asset_opener() if project_here() else None
    if opener is None:
        raise EngineError(
            f"{name!r} is not a directory here",
            needed="the directory of an engine, with its manifest.json, or a data version such as 0f3c....dir",
            fix="robot-assets engine get MODEL/engine/TARGET --out detector   # in the project that has built it",
        )
    try:
        return opener(name)
    except MissingLibrary as missing:
        raise EngineError(
            f"{name!r} is not a directory here, and {missing.found}",
            needed=f"the directory of an engine, or {missing.needed}, which opens assets by name",
            fix=missing.fix,
        ) from None


def _version(name: str) -> str | None:
    """The data version that ``name`` is, or that begins with it as tables print it; None for other names.

    Raises:
        EngineError: Several versions in the store begin with it.
    """
    if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
        return f"{name.removesuffix('.dir')}.dir"
    project = project_here() if re.fullmatch(rf"[0-9a-f]{{{_DIGITS_MIN},31}}", name) else None
    found = project.store.folders_beginning_with(name) if project else []
    if len(found) > 1:
        raise EngineError(
            f"{name} may mean {plural(len(found), 'version')}: {listed(found)}",
            needed="exactly one version",
            fix="give more digits, or the name of the asset",
        )
    return found[0] if found else None


def _other_than_engine(name: str) -> EngineError | None:
    """The error about a name that is not the name of an engine; None where it is one, and outside of projects."""
    from robot_assets.pipeline.graph import build_graph

    project = project_here()
    if project is None:
        return None
    graph = build_graph(project.params)
    engines = [asset for asset in graph if names.ENGINE.parse(asset)]
    if name in engines:
        return None
    own = [asset for asset in engines if asset.startswith(f"{name.partition('/')[0]}/")]
    if name in project.params.models:
        return _not_an_engine(name, "a model", own)
    if name in graph:
        return _not_an_engine(name, "an asset that is not an engine", own)
    near = near_misses(name, engines) or engines
    return _not_an_engine(name, "neither a path here nor an engine of params.yaml", near)


def _not_an_engine(name: str, what: str, near: Sequence[str]) -> EngineError:
    correction = f"did you mean {' or '.join(near[:3])}?"
    return EngineError(
        f"{name!r} is {what}",
        needed="an engine: MODEL/engine/TARGET, its directory, or its data version",
        fix=correction if near else "robot-assets plan   # lists the assets of the project",
    )


def _images_of(given: Path) -> list[Path]:
    """The image itself, or the images of a folder in the order of their names.

    Raises:
        DataError: It does not exist, or is a folder without images.
    """
    from robot_assets.data.images import SUFFIXES

    if not given.is_dir():
        return [given]
    found = sorted(
        path for path in given.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise DataError(
            f"{given} is a folder without images",
            needed=f"files that end in {listed(SUFFIXES)} in the folder itself",
            fix=f"ls {shlex.quote(str(given))}   # folders below it are named one by one",
        )
    return found


def _refuse_equal_names(paths: Sequence[Path]) -> None:
    """Refuse images whose drawings would have one name."""
    stems = Counter(path.stem for path in paths)
    if twice := [stem for stem, count in stems.items() if count > 1]:
        same = [str(path) for path in paths if path.stem == twice[0]]
        raise DataError(
            f"{plural(len(same), 'image')} would become {twice[0]}.png: {listed(same)}",
            needed="file names that differ before the suffix",
            fix="run one folder at a time, each with its own --out",
        )


def _refuse_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(
            f"--out is {out}, which is a file",
            needed="a folder; one that does not exist is created",
            fix=f"name another folder: --out {shlex.quote(f'{out}.drawn')}",
        )


def _predict(engine: Engine, path: Path, out: Path, score: float) -> dict[str, Any]:
    from PIL import Image

    from robot_assets.core.publishing import publishing_file
    from robot_assets.tasks.registry import task_of

    pixels, interface = _read(path), engine.manifest.interface
    drawing = task_of(interface.task).load_drawing()
    found = engine.predict(pixels)
    drawn = drawing.drawn(pixels, found, interface.classes, score)
    with publishing_file(out) as staging:
        Image.fromarray(drawn).save(staging, format="PNG")
    return {"image": str(path), "drawn": str(out), "findings": drawing.findings(found, interface.classes, score)}


def _read(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image that a person named."""
    from robot_assets.core.label_issues import BadItem
    from robot_assets.data.images import SUFFIXES, decode_rgb, inspect_image, read_bytes

    quoted = shlex.quote(str(path))
    if not path.exists():
        raise DataError(
            f"{path} does not exist",
            needed="an image, or a folder of images",
            fix=f"ls {shlex.quote(str(path.parent))}   # shows what is there",
        )
    try:
        encoded = read_bytes(path, str(path))
        inspect_image(encoded, str(path))
    except BadItem as error:
        raise DataError(
            f"{path}: {error.issue.found}",
            needed=f"a complete image: {listed(SUFFIXES)}",
            fix=f"file {quoted}   # shows what it is; leave it out, or replace it",
        ) from None
    return decode_rgb(encoded)


def _print_get(data: dict[str, Any]) -> None:
    out, files = escaped(data["out"]), escaped(", ".join(data["files"]))
    print(f"{out}: {files} of {data['version']}")
    if count := data["statements"]:
        print(f"and {plural(count, 'signed statement')}; next: robot-assets verify {shlex.quote(out)}")
    else:
        print("no signed statement, so `robot-assets verify` will answer no; building the engine again signs it")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        found = ", ".join(map(_in_words, row["findings"])) or "nothing"
        console().print(escaped(f"{row['drawn']}: {found}"), highlight=False, markup=False, soft_wrap=True)


def _in_words(finding: dict[str, Any]) -> str:
    shown = f"{finding['score']:.2f}" if "score" in finding else f"{finding['share']:.0%}"
    return f"{finding['class']} {shown}"


def _print_bench(data: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("", "p50 ms", "p95 ms", "p99 ms", "min ms", box=None, header_style="bold", pad_edge=False)
    for name in ("engine", "float32"):
        if name in data:
            row = data[name]
            keys = ("latency_ms_p50", "latency_ms_p95", "latency_ms_p99", "latency_ms_min")
            table.add_row(name, *(f"{row[key]:.2f}" for key in keys))
    console().print(table)
    text = f"{plural(data['int8_convolutions'], 'convolution')} in int8, {data['float_convolutions']} in float"
    console().print(text + (f"; {_against_float(data['speedup'])}" if "speedup" in data else ""))


def _against_float(speedup: float) -> str:
    if round(speedup, 2) >= 1:
        return f"{speedup:.2f}x the speed of the float model"
    return f"slower than the float model: {speedup:.2f}x its speed"
