"""A platform is what decides which kernels run, and nothing that changes from boot to boot."""

import json
from dataclasses import replace

from robot_assets.platforms.probe import int8_features, probe

CPU = """processor	: {number}
model name	: Some CPU @ 2.50GHz
cpu MHz		: {mhz}
bogomips	: 4999.99
flags		: fpu vme sse2 avx2 {extra}
"""


def cpu_info(*extras: str, mhz: float = 2500.0) -> str:
    return "\n".join(CPU.format(number=number, mhz=mhz, extra=extra) for number, extra in enumerate(extras))


def test_this_device_has_an_answer_and_it_is_the_same_twice():
    first, second = probe(), probe()
    assert first == second
    assert len(first.fingerprint) == 32
    assert "CPUExecutionProvider" in first.providers
    json.dumps(first.as_json())


def test_the_clock_and_the_number_of_cores_do_not_matter():
    one = int8_features(cpu_info("avx512_vnni", "avx512_vnni", mhz=1000))
    other = int8_features(cpu_info("avx512_vnni", mhz=3900))
    assert one == other == ("avx2", "avx512_vnni")


def test_a_feature_that_only_some_cores_have_does_not_count():
    assert int8_features(cpu_info("avx_vnni", "")) == ("avx2",)


def test_arm_features_are_read_too():
    text = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimddp i8mm\n"
    assert int8_features(text) == ("asimd", "asimddp", "i8mm")


def test_an_unreadable_cpu_has_no_features():
    assert int8_features("") == ()


def test_the_fingerprint_changes_with_everything_that_is_in_it():
    here = probe()
    others = [
        replace(here, architecture="aarch64"),
        replace(here, cpu_features=("avx2",)),
        replace(here, onnxruntime="1.0.0"),
        replace(here, providers=("CPUExecutionProvider",)),
    ]
    assert len({here.fingerprint, *(other.fingerprint for other in others)}) == 5
