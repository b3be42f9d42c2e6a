"""Power and temperature from the kernel's files. The devices are stand-ins: folders laid out as theirs are."""

import time
from pathlib import Path

import pytest

from robot_assets.platforms.memory import MemoryMeter
from robot_assets.platforms.meters import INTERVAL_S, Meters, Strain


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def rails(sysfs: Path, number: int = 0, **labels: tuple[int, int]) -> Path:
    """An INA3221 with (mV, mA) by rail, as its driver shows it: https://docs.kernel.org/hwmon/ina3221.html."""
    files: dict[str, object] = {"name": "ina3221", "in7_label": "sum of shunt voltages", "in7_input": 9}
    for channel, (label, (millivolts, milliamperes)) in enumerate(labels.items(), start=1):
        files |= {
            f"in{channel}_label": label,
            f"in{channel}_input": millivolts,
            f"in{channel}_enable": 1,
            f"curr{channel}_input": milliamperes,
        }
    return write(sysfs / f"class/hwmon/hwmon{number}", **files)


def strain(sysfs: Path) -> Strain:
    with Meters(sysfs) as meters:
        pass
    return meters.strain()


def test_a_rail_that_carries_the_module_is_its_power(tmp_path):
    rails(tmp_path, VDD_IN=(5000, 1960), VDD_CPU_GPU_CV=(5000, 800), VDD_SOC=(5000, 300))
    found = strain(tmp_path)
    assert (found.power_w_mean, found.power_w_max, found.power_of) == (pytest.approx(9.8), pytest.approx(9.8), "VDD_IN")


def test_elsewhere_the_rails_of_all_monitors_add_up(tmp_path):
    rails(tmp_path, 0, VDD_GPU_SOC=(19000, 300), VDD_CPU_CV=(19000, 100), VIN_SYS_5V0=(5000, 800))
    rails(tmp_path, 1, VDDQ_VDD2_1V8AO=(5000, 200), NC=(5000, 9999))
    found = strain(tmp_path)
    assert found.power_w_mean == pytest.approx(5.7 + 1.9 + 4.0 + 1.0)
    assert found.power_of == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO"


def test_a_sum_that_lacks_a_rail_is_no_power(tmp_path):
    chip = rails(tmp_path, VDD_GPU_SOC=(19000, 300), VDD_CPU_CV=(19000, 100))
    (chip / "curr2_input").unlink()
    assert strain(tmp_path).power_w_mean is None


def test_the_hottest_zone_is_named_and_one_that_is_off_or_constant_passed_over(tmp_path):
    zones = tmp_path / "class/thermal"
    write(zones / "thermal_zone0", type="cpu-thermal", temp=48500)
    write(zones / "thermal_zone1", type="gpu-thermal", temp=51250)
    write(zones / "thermal_zone2", type="cv0-thermal")  # its part is switched off: reading fails
    write(zones / "thermal_zone3", type="PMIC-Die", temp=100000)
    found = strain(tmp_path)
    assert (found.temperature_c_max, found.hottest) == (51.25, "gpu-thermal")


def test_the_sensors_of_a_pc_are_read_too(tmp_path):
    write(tmp_path / "class/hwmon/hwmon0", name="k10temp", temp1_input=61000)
    write(tmp_path / "class/hwmon/hwmon1", name="nvme", temp1_input=80000)
    found = strain(tmp_path)
    assert (found.temperature_c_max, found.hottest) == (61.0, "k10temp temp1")
    assert found.power_w_mean is None


def test_what_rises_and_falls_in_between_is_seen(tmp_path):
    chip = rails(tmp_path, VDD_IN=(5000, 1000))
    with Meters(tmp_path) as meters:
        (chip / "curr1_input").write_text("3000")
        deadline = time.monotonic() + 30
        while meters.strain().power_w_max < 15 and time.monotonic() < deadline:
            time.sleep(INTERVAL_S)
        (chip / "curr1_input").write_text("1000")
    found = meters.strain()
    assert found.power_w_max == pytest.approx(15.0)
    assert 5.0 < found.power_w_mean < 15.0


def test_a_device_without_sensors_tells_nothing(tmp_path):
    assert strain(tmp_path) == Strain()


def test_asking_for_a_gpu_that_is_not_there_tells_nothing(tmp_path):
    with Meters(tmp_path, gpu=True) as meters:
        pass
    assert meters.strain().temperature_c_max is None or meters.strain().hottest


def test_memory_that_stays_and_memory_that_was_given_back_are_told_apart():
    with MemoryMeter() as meter:
        kept = bytearray(b"\1") * (64 * 2**20)
        passing = bytearray(b"\1") * (128 * 2**20)
        del passing
    assert len(kept) == 64 * 2**20
    assert 60 < meter.growth.process_mib < 100
    assert meter.growth.process_peak_mib > 180


def test_what_the_kernel_does_not_tell_of_memory_is_unknown(tmp_path):
    with MemoryMeter(tmp_path) as meter:
        pass
    assert meter.growth.process_mib is None
    assert meter.growth.process_peak_mib is None
