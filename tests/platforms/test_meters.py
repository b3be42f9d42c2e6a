"""Power and temperature from sysfs, and memory from procfs; a folder stands in for the device's files."""

import time
from pathlib import Path

import pytest

from robot_assets.platforms.memory import MemoryMeter
from robot_assets.platforms.meters import INTERVAL_S, Meters, Telemetry


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def rails(sysfs: Path, number: int = 0, **labels: tuple[int, int]) -> Path:
    """An INA3221 with (mV, mA) by rail, laid out as its driver does: https://docs.kernel.org/hwmon/ina3221.html."""
    files: dict[str, object] = {"name": "ina3221", "in7_label": "sum of shunt voltages", "in7_input": 9}
    for channel, (label, (millivolts, milliamperes)) in enumerate(labels.items(), start=1):
        files |= {
            f"in{channel}_label": label,
            f"in{channel}_input": millivolts,
            f"in{channel}_enable": 1,
            f"curr{channel}_input": milliamperes,
        }
    return write(sysfs / f"class/hwmon/hwmon{number}", **files)


def telemetry(sysfs: Path) -> Telemetry:
    with Meters(sysfs) as meters:
        pass
    return meters.telemetry()


def test_the_rail_of_the_whole_module_is_its_power(tmp_path):
    rails(tmp_path, VDD_IN=(5000, 1960), VDD_CPU_GPU_CV=(5000, 800), VDD_SOC=(5000, 300))
    found = telemetry(tmp_path)
    assert (found.power_w_mean, found.power_w_max, found.power_of) == (pytest.approx(9.8), pytest.approx(9.8), "VDD_IN")


def test_without_such_a_rail_the_rails_of_all_monitors_add_up(tmp_path):
    rails(tmp_path, 0, VDD_GPU_SOC=(19000, 300), VDD_CPU_CV=(19000, 100), VIN_SYS_5V0=(5000, 800))
    rails(tmp_path, 1, VDDQ_VDD2_1V8AO=(5000, 200), NC=(5000, 9999))
    found = telemetry(tmp_path)
    assert found.power_w_mean == pytest.approx(5.7 + 1.9 + 4.0 + 1.0)
    assert found.power_of == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO"


def test_a_sum_that_lacks_a_rail_is_not_reported(tmp_path):
    chip = rails(tmp_path, VDD_GPU_SOC=(19000, 300), VDD_CPU_CV=(19000, 100))
    (chip / "curr2_input").unlink()
    assert telemetry(tmp_path).power_w_mean is None


def test_the_hottest_zone_is_named_and_zones_that_are_off_or_constant_are_skipped(tmp_path):
    zones = tmp_path / "class/thermal"
    write(zones / "thermal_zone0", type="cpu-thermal", temp=48500)
    write(zones / "thermal_zone1", type="gpu-thermal", temp=51250)
    write(zones / "thermal_zone2", type="cv0-thermal")  # its unit is powered off: reading fails
    write(zones / "thermal_zone3", type="PMIC-Die", temp=100000)
    found = telemetry(tmp_path)
    assert (found.temperature_c_max, found.hottest) == (51.25, "gpu-thermal")


def test_the_cpu_sensors_of_a_pc_are_read(tmp_path):
    write(tmp_path / "class/hwmon/hwmon0", name="k10temp", temp1_input=61000)
    write(tmp_path / "class/hwmon/hwmon1", name="nvme", temp1_input=80000)
    found = telemetry(tmp_path)
    assert (found.temperature_c_max, found.hottest) == (61.0, "k10temp temp1")
    assert found.power_w_mean is None


def test_a_peak_between_the_first_and_the_last_sample_is_recorded(tmp_path):
    chip = rails(tmp_path, VDD_IN=(5000, 1000))
    with Meters(tmp_path) as meters:
        (chip / "curr1_input").write_text("3000")
        deadline = time.monotonic() + 30
        while meters.telemetry().power_w_max < 15 and time.monotonic() < deadline:
            time.sleep(INTERVAL_S)
        (chip / "curr1_input").write_text("1000")
    found = meters.telemetry()
    assert found.power_w_max == pytest.approx(15.0)
    assert 5.0 < found.power_w_mean < 15.0


def test_a_device_without_sensors_has_no_telemetry(tmp_path):
    assert telemetry(tmp_path) == Telemetry()


def test_a_missing_gpu_is_no_error(tmp_path):
    with Meters(tmp_path, gpu=True) as meters:
        pass
    assert meters.telemetry().temperature_c_max is None or meters.telemetry().hottest


def test_memory_that_was_freed_counts_for_the_peak_only():
    with MemoryMeter() as meter:
        kept = bytearray(b"\1") * (64 * 2**20)
        freed = bytearray(b"\1") * (128 * 2**20)
        del freed
    assert len(kept) == 64 * 2**20
    assert 60 < meter.growth.process_mib < 100
    assert meter.growth.process_peak_mib > 180


def test_memory_that_the_kernel_does_not_report_is_none(tmp_path):
    with MemoryMeter(tmp_path) as meter:
        pass
    assert meter.growth.process_mib is None
    assert meter.growth.process_peak_mib is None
