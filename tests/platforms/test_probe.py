"""A platform has everything that selects kernels, and nothing that changes between boots."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.core.errors import PlatformError
from robot_assets.platforms.probe import Platform, int8_features, probe
from robot_assets.runtime.manifest import Manifest

CPU = """processor	: {number}
model name	: Some CPU @ 2.50GHz
cpu MHz		: {mhz}
bogomips	: 4999.99
flags		: fpu vme sse2 avx2 {extra}
"""


def cpu_info(*extras: str, mhz: float = 2500.0) -> str:
    return "\n".join(CPU.format(number=number, mhz=mhz, extra=extra) for number, extra in enumerate(extras))


def test_two_probes_of_this_device_are_equal():
    first, second = probe(), probe()
    assert first == second
    assert len(first.fingerprint) == 32
    assert "CPUExecutionProvider" in first.providers
    json.dumps(first.as_json())


def test_the_fingerprint_of_a_platform_never_changes():
    """Recorded with the first engines: their manifests must keep matching the machine that built them."""
    device = Platform(
        architecture="x86_64",
        cpu_features=("avx2", "avx512_vnni", "avx512bw"),
        onnxruntime="1.32.0",
        providers=("AzureExecutionProvider", "CPUExecutionProvider"),
    )
    assert device.fingerprint == "e651b12af5ebc94712acc37dc473d9ab"


def test_clock_rate_and_core_count_do_not_change_the_features():
    one = int8_features(cpu_info("avx512_vnni", "avx512_vnni", mhz=1000))
    other = int8_features(cpu_info("avx512_vnni", mhz=3900))
    assert one == other == ("avx2", "avx512_vnni")


def test_a_feature_that_only_some_cores_have_does_not_count():
    assert int8_features(cpu_info("avx_vnni", "")) == ("avx2",)


def test_features_of_arm_cores_are_read():
    text = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimddp i8mm\n"
    assert int8_features(text) == ("asimd", "asimddp", "i8mm")


def test_an_empty_cpuinfo_has_no_features():
    assert int8_features("") == ()


def test_the_fingerprint_changes_with_every_field():
    here = probe()
    others = [
        here.model_copy(update=change)
        for change in (
            {"architecture": "riscv64"},
            {"cpu_features": ("avx2", "sve")},
            {"onnxruntime": "1.0.0"},
            {"providers": ("CPUExecutionProvider",)},
            {"l4t": "36.4.3"},
            {"dla_cores": ()},
        )
    ]
    assert len({here.fingerprint, *(other.fingerprint for other in others)}) == 7


def test_the_procfs_may_be_mounted_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(cpu_info("avx_vnni_int8"))
    monkeypatch.setenv("ROBOT_ASSETS_PROC", str(tmp_path))
    assert probe().cpu_features == ("avx2", "avx_vnni_int8")


def test_a_runtime_that_was_replaced_after_its_import_is_an_error(tmp_path):
    """A stand-in replaces the installed package, which stays as it is."""
    package = tmp_path / "onnxruntime"
    package.mkdir()
    source = '__version__ = "{}"\n\n\ndef get_available_providers():\n    return ["CPUExecutionProvider"]\n'
    (package / "__init__.py").write_text(source.format("1.31.0"))
    code = (
        "import sys; from pathlib import Path; from robot_assets.platforms.probe import probe\n"
        "print(probe().onnxruntime)\n"
        "Path(sys.argv[1], 'onnxruntime/__init__.py').write_text(sys.argv[2])\n"
        "try: probe()\nexcept Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), source.format("1.32.0")],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("1.31.0\nONNX Runtime was replaced after this process had imported 1.31.0")
    assert "fix: reload the code location" in done.stdout


# Jetsons: the files of an Orin as JetPack installs them


DPKG = """\
Package: nvidia-jetpack
Status: install ok installed
Version: 6.2+b77

Package: nvidia-l4t-core
Status: install ok installed
Version: 36.4.3-20250107174145

Package: libnvinfer10
Status: install ok installed
Architecture: arm64
Version: 10.3.0.30-1+cuda12.5

Package: libnvinfer8
Status: deinstall ok config-files
Version: 8.6.2.3-1+cuda12.2

Package: cuda-cudart-12-6
Status: install ok installed
Version: 12.6.68-1
"""


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ROBOT_ASSETS_PROC", raising=False)
    root = tmp_path / "orin"
    tree = root / "proc/device-tree"
    for name, status in (("nvdla0@15880000", b"okay\0"), ("nvdla1@158c0000", None)):
        node = tree / "bus@0/host1x@13e00000" / name
        node.mkdir(parents=True)
        if status:
            (node / "status").write_bytes(status)
    (tree / "model").write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    (tree / "compatible").write_bytes(b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    write(root / "proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd asimddp crc32\n")
    write(
        root / "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    )
    write(root / "var/lib/dpkg/status", DPKG)
    write(root / "usr/local/cuda/version.json", json.dumps({"cuda_cudart": {"version": "12.6.68"}}))
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_jetson_has_its_release_its_tensorrt_and_its_gpu(orin):
    found = probe(orin).as_json()
    assert {key: value for key, value in found.items() if key not in probe().as_json()} == {
        "board": "NVIDIA Jetson AGX Orin Developer Kit",
        "soc": "tegra234",
        "l4t": "36.4.3",
        "jetpack": "6.2+b77",
        "cuda": "12.6.68",
        "compute_capability": "8.7",
        "libnvinfer": "10.3.0.30-1+cuda12.5",
        "dla_cores": ["nvdla0", "nvdla1"],
    }
    assert found["cpu_features"] == ["asimd", "asimddp"]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("etc/nv_tegra_release", "REVISION: 4.3", "REVISION: 4.4"),
        ("var/lib/dpkg/status", "10.3.0.30", "10.7.0.23"),
        ("usr/local/cuda/version.json", "12.6.68", "12.8.57"),
    ],
)
def test_a_reflashed_jetson_has_another_fingerprint(orin, path, old, new):
    before = probe(orin).fingerprint
    write(orin / path, (orin / path).read_text().replace(old, new))
    assert probe(orin).fingerprint != before


def test_a_disabled_dla_core_is_left_out(orin):
    (orin / "proc/device-tree/bus@0/host1x@13e00000/nvdla1@158c0000/status").write_bytes(b"disabled\0")
    assert probe(orin).dla_cores == ("nvdla0",)


def test_a_jetson_with_few_readable_files_is_still_a_jetson(tmp_path, monkeypatch):
    """A container may hide the device tree and have no packages."""
    monkeypatch.delenv("ROBOT_ASSETS_PROC", raising=False)
    write(tmp_path / "etc/nv_tegra_release", "# R35 (release), REVISION: 4.1, GCID: 33958178\n")
    write(tmp_path / "dev/nvhost-ctrl-nvdla0", "")
    write(tmp_path / "usr/local/cuda/version.json", "{broken")
    found = probe(tmp_path)
    assert (found.l4t, found.dla_cores) == ("35.4.1", ("nvdla0",))
    assert (found.board, found.soc, found.cuda, found.compute_capability, found.libnvinfer) == (None,) * 5


def test_the_fields_of_a_jetson_fit_the_manifest_of_an_engine(orin):
    field = Manifest.model_fields["platform"]
    assert field.annotation == dict[str, str | list[str]]
    facts = probe(orin).as_json()
    assert all(isinstance(value, str | list) for value in facts.values())


def test_a_missing_onnxruntime_is_an_error_except_on_a_jetson(orin, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert probe(orin).onnxruntime is None
    with pytest.raises(PlatformError, match="ONNX Runtime cannot be imported"):
        probe()


def test_probing_a_jetson_loads_no_gpu_library(orin):
    code = (
        "import sys; from pathlib import Path; from robot_assets.platforms.probe import probe\n"
        "probe(Path(sys.argv[1]))\n"
        "print([name for name in ('tensorrt', 'torch', 'pycuda', 'cuda.bindings.driver') if name in sys.modules],"
        "[line for line in open('/proc/self/maps') if 'libcuda' in line or 'nvinfer' in line])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(orin)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
