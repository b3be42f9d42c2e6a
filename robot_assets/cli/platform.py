"""``robot-assets platform``: what this device is. ``report`` and ``publish`` join by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.plugins import extensible
from robot_assets.core.text import escaped

if TYPE_CHECKING:
    from robot_assets.platforms.probe import Platform

app = typer.Typer(
    cls=extensible("platform"),
    help="Show what a device is, and report it to the instance or the cluster.",
    no_args_is_help=True,
)


_TITLES = {
    "board": "board",
    "soc": "SoC",
    "architecture": "architecture",
    "cpu_features": "int8 features of the CPU",
    "compute_capability": "compute capability",
    "dla_cores": "DLA cores",
    "l4t": "Jetson Linux (L4T)",
    "jetpack": "JetPack",
    "cuda": "CUDA runtime",
    "libnvinfer": "TensorRT library",
    "tensorrt": "TensorRT for Python",
    "onnxruntime": "ONNX Runtime",
    "providers": "execution providers",
}


@app.command("probe")
def show(as_json: JsonOption = False) -> None:
    """Show the properties of this device that decide which engines run on it, and their fingerprint.

    Example: robot-assets platform probe --json > orin.json
    """
    from robot_assets.platforms.probe import probe

    device = probe()
    data = {"platform": device.as_json(), "fingerprint": device.fingerprint}
    answer(data, as_json, lambda: print_platform(device))


def print_platform(device: Platform) -> None:
    """Print a table of the facts that the device has, and its fingerprint."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for title, value in described(device).items():
        table.add_row(title, escape(escaped(value)))  # a board has its name from its maker
    table.add_row("[bold]fingerprint[/bold]", f"[bold]{device.fingerprint}[/bold]")
    console().print(table, highlight=False)


def described(device: Platform) -> dict[str, str]:
    """The facts of a device by title."""
    facts = device.as_json()
    return {
        title: ", ".join(facts[name]) or "none" if isinstance(facts[name], list) else facts[name]
        for name, title in _TITLES.items()
        if name in facts and (name != "providers" or device.onnxruntime)
    }
