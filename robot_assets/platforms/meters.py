"""Power and temperature of this device while a block of code runs.

Read from ``/sys/class/hwmon`` and ``/sys/class/thermal``. On a Jetson these are the sensors that tegrastats shows
(INA3221, https://docs.kernel.org/hwmon/ina3221.html), and a container sees them without further tools. A GPU without
such files is read through NVML where ``nvidia-ml-py`` is installed. A value without a sensor is None, never estimated.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SYSFS = Path("/sys")
INTERVAL_S = 0.1
"""Between two samples; reading a Jetson's sensors goes over I2C and takes some milliseconds."""

_TOTALS = ("VDD_IN", "POM_5V_IN")
"""Rails that supply the whole module. On boards without one (AGX Orin) it is the sum of all rails."""

_CPU_CHIPS = frozenset({"coretemp", "k10temp", "cpu_thermal", "zenpower"})
_NOT_MEASURED = "PMIC"
"""Prefix of a thermal zone whose temperature is a constant on Xavier and earlier."""

Read = Callable[[], float]


@dataclass(frozen=True)
class Telemetry:
    """Power and temperature of a device over a block of code; None where it has no sensor.

    Attributes:
        power_w_mean: Watts, mean of all samples.
        power_w_max: Watts, highest sample.
        power_of: The rail that the power was measured on, or ``A + B`` for a sum of rails.
        temperature_c_max: Degrees Celsius, highest sample of the hottest sensor.
        hottest: Name of that sensor.
    """

    power_w_mean: float | None = None
    power_w_max: float | None = None
    power_of: str | None = None
    temperature_c_max: float | None = None
    hottest: str | None = None


class Meters:
    """Samples the sensors while a block of code runs: ``with Meters() as meters: ...; meters.telemetry()``.

    The first sample is taken at the start and the last at the end, so that even a short block has two.

    Args:
        sysfs: Mount point of the sysfs.
        gpu: Whether the block runs on an NVIDIA GPU, which is read through NVML where there is no power rail.
    """

    def __init__(self, sysfs: Path = SYSFS, *, gpu: bool = False) -> None:
        self._rails = _rails(sysfs)
        self._zones = _zones(sysfs)
        if gpu and not self._rails:
            self._rails, zones = _nvml()
            self._zones |= zones
        self._power: list[float] = []
        self._hottest: tuple[float, str] | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Meters:
        if self._rails or self._zones:
            self._sample()
            self._thread = threading.Thread(target=self._sample_until_done, name="meters", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._sample()

    def telemetry(self) -> Telemetry:
        """Summary of the samples so far."""
        power = {}
        if self._power:
            mean, highest = sum(self._power) / len(self._power), max(self._power)
            power = {"power_w_mean": mean, "power_w_max": highest}
        temperature, hottest = self._hottest or (None, None)
        return Telemetry(
            **power,
            power_of=" + ".join(self._rails) if power else None,
            temperature_c_max=temperature,
            hottest=hottest,
        )

    def _sample_until_done(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        watts = _readings(self._rails)
        if watts and len(watts) == len(self._rails):  # a sum without one of the rails would be too low
            self._power.append(sum(watts.values()))
        for name, degrees in _readings(self._zones).items():
            if self._hottest is None or degrees > self._hottest[0]:
                self._hottest = (degrees, name)


def _readings(sensors: dict[str, Read]) -> dict[str, float]:
    """Values of the sensors that can be read: the zone of a unit that is powered off cannot."""
    found = {}
    for name, read in sensors.items():
        try:
            found[name] = read()
        except Exception:  # NVML's error classes are created at run time and have no base in common with OSError
            continue
    return found


def _rails(sysfs: Path) -> dict[str, Read]:
    """Watts by rail: the rail of the whole module where there is one, else all rails."""
    rails: dict[str, Read] = {}
    for chip in _chips(sysfs):
        rails |= dict(_rails_of(chip))
    total = next((name for name in _TOTALS if name in rails), None)
    return {total: rails[total]} if total else rails


def _rails_of(chip: Path) -> Iterator[tuple[str, Read]]:
    if not _text(chip / "name").startswith("ina3221"):
        return
    for label in sorted(chip.glob("in[123]_label")):
        number, name = label.name[2], _text(label)
        # "NC": a channel that is not connected
        if name and "NC" not in name and _text(chip / f"in{number}_enable") != "0":
            yield name, _watts(chip / f"in{number}_input", chip / f"curr{number}_input")


def _watts(millivolts: Path, milliamperes: Path) -> Read:
    return lambda: int(millivolts.read_bytes()) * int(milliamperes.read_bytes()) * 1e-6


def _zones(sysfs: Path) -> dict[str, Read]:
    """Degrees Celsius by thermal zone, and by CPU sensor on a PC."""
    zones: dict[str, Read] = {}
    for zone in sorted((sysfs / "class/thermal").glob("thermal_zone*")):
        name = _text(zone / "type")
        if name and not name.startswith(_NOT_MEASURED):
            zones[name] = _celsius(zone / "temp")
    for chip in _chips(sysfs):
        if (name := _text(chip / "name")) in _CPU_CHIPS:
            for path in sorted(chip.glob("temp*_input")):
                zones[f"{name} {re.sub('_input$', '', path.name)}"] = _celsius(path)
    return zones


def _nvml() -> tuple[dict[str, Read], dict[str, Read]]:
    """Watts and degrees Celsius of the first GPU; empty where it has no such sensor."""
    try:
        import pynvml

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        name = str(pynvml.nvmlDeviceGetName(gpu))
    except Exception:  # no package, no driver or no GPU; NVML's error classes are created at run time
        return {}, {}
    sensors: list[Read] = [
        lambda: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
        lambda: float(pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)),
    ]
    power, temperature = ({name: sensor} if _readings({name: sensor}) else {} for sensor in sensors)
    return power, temperature


def _celsius(millidegrees: Path) -> Read:
    return lambda: int(millidegrees.read_bytes()) / 1000


def _chips(sysfs: Path) -> list[Path]:
    return sorted(path for path in (sysfs / "class/hwmon").glob("hwmon*") if os.access(path, os.R_OK))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
