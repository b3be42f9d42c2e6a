"""``robot-assets platform``: what this device is. ``report``, which needs the instance, joins it from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from robot_assets.cli.console import answer, console
from robot_assets.platforms.probe import Platform, probe

app = typer.Typer(help="What a device is, and telling it to the instance.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]

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
def probe_(as_json: JsonOption = False) -> None:
    """Show what this device is, as far as engines care, and its fingerprint.

    Example: robot-assets platform probe --json > orin.json
    """
    device = probe()
    data = {"platform": device.as_json(), "fingerprint": device.fingerprint}
    answer(data, as_json, lambda: print_platform(device))


def print_platform(device: Platform) -> None:
    """A small table: what the device has, and nothing about what it has not."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for title, value in described(device).items():
        table.add_row(title, value)
    table.add_row("[bold]fingerprint[/bold]", f"[bold]{device.fingerprint}[/bold]")
    console().print(table, highlight=False)


def described(device: Platform) -> dict[str, str]:
    """What a device is, in words: title -> value."""
    facts = device.as_json()
    return {
        title: ", ".join(facts[name]) or "none" if isinstance(facts[name], list) else facts[name]
        for name, title in _TITLES.items()
        if name in facts and (name != "providers" or device.onnxruntime)
    }
