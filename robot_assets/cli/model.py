"""``robot-assets model``: networks and graphs, before they are trained and built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.plugins import asset_opener, extensible
from robot_assets.core.errors import ParamsError, RobotAssetsError
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, plural
from robot_assets.core.validation import unknown
from robot_assets.pipeline import names
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from robot_assets.pipeline.models import TrainedModel
    from robot_assets.pipeline.project import Project
    from robot_assets.smoke.result import SmokeResult, SmokeStep
    from robot_assets.weights.loading import StartingWeights

_SHOWN = 12
_LIBRARIES = ("torch", "torchao", "onnx", "onnxruntime")

app = typer.Typer(
    cls=extensible("model"), help="Check networks and inspect graphs before they are built.", no_args_is_help=True
)


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of params.yaml.", autocompletion=completion.models)
    ],
    dataset: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            help="A packed data set; by default that of the model as it was built last, else random images.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Do once, with two images, what a build does with a network: train, quantize, export and compare it.

    Takes less than a minute. The training of a model begins with the same steps.

    Example: robot-assets model check sidewalk_detector
    """
    project = find_project()
    model = _model(project, name)
    for library in _LIBRARIES:
        require(library)  # or a missing one would be taken for a fault of the network
    classes = project.params.datasets[model.dataset].classes
    if dataset is not None:
        classes = _classes(dataset)
    from robot_assets.smoke.check import check as smoke_test  # imports torch: seconds, after all that can be refused

    result = smoke_test(
        model.definition,
        model.interface(classes),
        dataset=dataset or _built(names.dataset(model.dataset), classes),
        initialize=_start(project, model),
        float_layers=model.quantization.float_layers,
        seed=model.training.seed,
        on_step=(lambda step: None) if as_json else _print_step,
    )
    answer(result.as_json(), as_json, lambda: _print_result(result))


def _model(project: Project, name: str) -> TrainedModel:
    from robot_assets.pipeline.models import TrainedModel

    models = project.params.models
    if name not in models:
        raise ParamsError(
            f"params.yaml has no model {name!r}: {unknown('model', name, models)}",
            needed="a model of params.yaml",
            fix="correct the name, or add the model to params.yaml",
        )
    model = models[name]
    if not isinstance(model, TrainedModel):
        raise ParamsError(
            f"models.{name} has a source: it was trained elsewhere",
            needed="a model with a network that is trained here",
            fix=f"robot-assets build {names.onnx(name)}   # checks its graph",
        )
    return model


def _classes(dataset: Path) -> tuple[str, ...]:
    from robot_assets.data.packed import open_split

    return open_split(dataset, "train").classes


def _built(asset: str, classes: tuple[str, ...]) -> Path | None:
    """The present version of a data set; None where it is not built, has other classes, or nothing can open it."""
    opener = asset_opener()
    try:
        found = opener(asset) if opener else None
        return found if found and _classes(found) == classes else None
    except RobotAssetsError:  # not built yet, or Dagster is not installed: the check has random images then
        return None


def _start(project: Project, model: TrainedModel) -> StartingWeights | None:
    from robot_assets.store.pointed import open_pointed, read_pointed
    from robot_assets.weights.loading import StartingWeights

    name = model.network.weights
    if name is None:
        return None
    entry = project.params.weights[name]
    pointer = project.root / entry.pointer
    version = read_pointed(pointer).digest
    return StartingWeights(name, version, open_pointed(pointer, version, project.store), entry.rules, entry.artifact)


def _print_step(step: SmokeStep) -> None:
    from rich.text import Text

    line = Text.assemble((f"{step.name:<10}", "bold"), (f"{step.seconds:6.1f} s  ", "dim"), escaped(step.found))
    console().print(line, soft_wrap=True)


def _print_result(result: SmokeResult) -> None:
    if result.in_float:
        console().print(_float_table(result))
    total = f"{result.seconds:.1f} s"
    console().print(
        f"The network trains, is quantized and exports: {plural(len(result.quantized), 'layer')} in int8 ({total}).",
        highlight=False,
    )


def _float_table(result: SmokeResult) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title="Stays in float", title_justify="left", title_style="bold")
    for title in ("layer", "operator", "reason"):
        table.add_column(title, header_style="dim")
    for one in result.in_float[:_SHOWN]:
        table.add_row(*(Text(escaped(text)) for text in (one.layer, one.operator, one.reason)))
    if len(result.in_float) > _SHOWN:
        table.add_row(Text(f"and {len(result.in_float) - _SHOWN} more; --json has all"))
    return table
