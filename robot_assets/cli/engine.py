"""``robot-assets engine``: get, run and time built engines. None of it needs PyTorch, so that it works on robots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.plugins import asset_opener, extensible
from robot_assets.core.errors import DataError, EngineError
from robot_assets.core.extras import MissingLibrary
from robot_assets.core.text import plural
from robot_assets.pipeline.project import find_project, project_here

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robot_assets.runtime.engine import Engine

app = typer.Typer(cls=extensible("engine"), help="Get, run and time built engines.", no_args_is_help=True)

EngineArgument = Annotated[
    str,
    typer.Argument(metavar="ENGINE", help="An asset name, the directory of an engine, or a data version in the store."),
]


@app.command()
def run(
    engine: EngineArgument,
    images: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for the drawn images.")],
    score: Annotated[float, typer.Option(min=0.01, max=1.0, help="Lowest score that is drawn.")] = 0.3,
    as_json: JsonOption = False,
) -> None:
    """Detect objects in IMAGES and draw them.

    Example: robot-assets engine run sidewalk_detector/engine/cpu street.jpg --out drawn
    """
    from robot_assets.engines.load import load_engine

    names = [f"{path.stem}.png" for path in images]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"several images would become {twice[0]}",
            needed="file names that differ before the suffix",
            fix="run one folder at a time, each with its own --out",
        )
    loaded = load_engine(open_engine(engine))
    out.mkdir(parents=True, exist_ok=True)
    rows = [_detect(loaded, path, out / name, score) for path, name in zip(images, names, strict=True)]
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
        StoreError: It is a version that the store does not have.
    """
    folder = Path(engine)
    if folder.is_dir():
        return folder
    if re.fullmatch(r"[0-9a-f]{32}\.dir", engine):
        return find_project().store.open(engine)
    return open_asset(engine)


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
            fix=f"robot-assets engine get MODEL/engine/TARGET --out {name}   # where the engine was built",
        )
    try:
        return opener(name)
    except MissingLibrary as missing:
        raise EngineError(
            f"{name!r} is not a directory here, and {missing.found}",
            needed=f"the directory of an engine, or {missing.needed}, which opens assets by name",
            fix=missing.fix,
        ) from None


def _detect(engine: Engine, path: Path, out: Path, score: float) -> dict[str, Any]:
    from PIL import Image

    from robot_assets.core.publishing import publishing_file
    from robot_assets.figures.detections import draw_detections

    pixels = _read(path)
    found = engine.detect(pixels, score)
    classes = engine.manifest.classes
    drawn = draw_detections(pixels, found.boxes, found.labels, found.scores, classes)
    with publishing_file(out) as staging:
        Image.fromarray(drawn).save(staging, format="PNG")
    detections = [
        {
            "class": classes[int(label)],
            "score": round(float(value), 4),
            "box": [round(float(edge), 1) for edge in box],
        }
        for box, label, value in zip(found.boxes, found.labels, found.scores, strict=True)
    ]
    return {"image": str(path), "drawn": str(out), "detections": detections}


def _read(path: Path) -> NDArray[np.uint8]:
    from robot_assets.data.images import decode_rgb, inspect_image, read_bytes
    from robot_assets.data.label_issues import BadItem

    try:
        encoded = read_bytes(path, str(path))
        inspect_image(encoded, str(path))
    except BadItem as error:
        issue = error.issue
        raise DataError(f"{issue.place}: {issue.found}", needed="a complete JPEG or PNG image", fix=issue.fix) from None
    return decode_rgb(encoded)


def _print_get(data: dict[str, Any]) -> None:
    print(f"{data['out']}: {', '.join(data['files'])} of {data['version']}")
    if count := data["statements"]:
        print(f"and {plural(count, 'signed statement')}; next: robot-assets verify {data['out']}")
    else:
        print("no signed statement, so `robot-assets verify` will answer no; building the engine again signs it")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        found = ", ".join(f"{one['class']} {one['score']:.2f}" for one in row["detections"]) or "nothing"
        console().print(f"{row['drawn']}: {found}", highlight=False, markup=False)


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
    console().print(text + (f"; {data['speedup']:.2f}x the speed of the float model" if "speedup" in data else ""))
