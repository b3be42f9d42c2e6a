"""``robot-assets platform``: the commands on a device, and the observations that the instance records."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.keys import asset_key
from robot_assets.core.errors import PlatformError
from robot_assets.platforms.probe import Platform, probe
from robot_assets.platforms.report import read_report
from tests.platforms.sample_platforms import ORIN
from tests.sample_params import sample_document

TARGET = {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 40}}


def printed(device: Platform) -> str:
    return json.dumps({"platform": device.as_json(), "fingerprint": device.fingerprint})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    params = {
        "store": {"url": ".robot_assets/store"},
        "datasets": {},
        "models": {},
        "targets": {"cpu": TARGET, "orin": {**TARGET, "platform": "reported"}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def run(root: Path, *arguments: str, text: str = "", code: int = 0) -> str:
    """Standard output of the command, or its standard error where it has to fail."""
    command = str(Path(sys.executable).with_name("robot-assets"))
    environment = {**os.environ, "DAGSTER_HOME": str(root / ".dagster")}
    done = subprocess.run(
        [command, "platform", *arguments],
        cwd=root,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def observations(root: Path) -> list[dg.AssetObservation]:
    with dg.DagsterInstance.from_config(str(root / ".dagster")) as instance:
        records = instance.fetch_observations(asset_key("platform/orin"), limit=10).records
        return [record.asset_observation for record in records]


@pytest.mark.parametrize("command", ["probe", "report"])
def test_every_command_has_help_with_an_example(root, command):
    assert "Example:" in run(root, command, "--help")


def test_probe_prints_this_device_as_text_and_as_json(root):
    here = probe()
    shown = run(root, "probe")
    assert here.architecture in shown
    assert shown.rstrip().endswith(here.fingerprint)
    assert "JetPack" not in shown
    assert read_report(run(root, "probe", "--json"), "stdin") == here


def test_a_report_is_recorded_once_and_again_when_the_device_changed(root):
    assert "its first report" in run(root, "report", "orin", "--probe", "-", text=printed(ORIN))
    assert "is unchanged" in run(root, "report", "orin", "--probe", "-", text=printed(ORIN))
    reflashed = ORIN.model_copy(update={"libnvinfer": "10.7.0.23-1+cuda12.6"})
    (root / "orin.json").write_text(printed(reflashed))
    said = run(root, "report", "orin", "--probe", "orin.json")
    assert f"changed: {ORIN.fingerprint[:8]} -> {reflashed.fingerprint[:8]}" in said
    assert "libnvinfer: 10.3.0.30-1+cuda12.5 -> 10.7.0.23-1+cuda12.6" in said
    second, first = observations(root)
    assert first.tags["dagster/data_version"] == ORIN.fingerprint
    assert second.tags["dagster/data_version"] == reflashed.fingerprint
    assert second.metadata["version before"].value == ORIN.fingerprint
    assert second.metadata["board"].value == "NVIDIA Jetson AGX Orin Developer Kit"


def test_a_report_without_a_file_probes_this_device(root):
    done = json.loads(run(root, "report", "orin", "--json"))
    assert (done["asset"], done["fingerprint"], done["before"]) == ("platform/orin", probe().fingerprint, None)
    assert done["changed"] is True
    assert done["instance"] == str(root / ".dagster")


def test_a_report_for_a_target_that_is_probed_here_or_unknown_is_refused(root):
    probed = run(root, "report", "cpu", code=1)
    assert "fix: robot-assets plan platform/cpu   # probes it; or set targets.cpu.platform to reported" in probed
    unknown = run(root, "report", "orni", code=1)
    assert "needed: one of: orin\n" in unknown
    assert "fix: robot-assets platform report orin\n" in unknown
    assert "fix: add targets.thor to params.yaml" in run(root, "report", "thor", code=1)
    assert not (root / ".dagster").exists()


def test_the_error_for_an_unreadable_file_has_the_command_that_writes_it(root):
    assert "robot-assets platform probe --json > no.json" in run(root, "report", "orin", "--probe", "no.json", code=1)


def test_an_empty_report_on_standard_input_is_refused(root):
    assert "the standard input is not a device report" in run(root, "report", "orin", "--probe", "-", code=1)


def edited(**changes: object) -> str:
    report = json.loads(printed(ORIN))
    report["platform"] |= changes
    return json.dumps(report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "orin.json is not a device report"),
        ("[]", "not a device report"),
        (json.dumps({"platform": ORIN.as_json()}), "fingerprint: missing"),
        (edited(gpu="H100"), "platform.gpu: unknown key"),
        (edited(l4t=36), "platform.l4t: needed a string"),
        (edited(l4t=""), "platform.l4t: needed a string of length 1 or more"),
        (edited(board="x" * 201), "platform.board: needed a string of length 200 or less"),
        (edited(cpu_features="asimd"), "platform.cpu_features: needed a list"),
        (edited(l4t="36.4.4"), f"has fingerprint {ORIN.fingerprint}, but that of its content is"),
    ],
)
def test_an_invalid_report_is_refused_with_its_mistake(text, message):
    with pytest.raises(PlatformError) as caught:
        read_report(text, "orin.json")
    assert message in caught.value.found
    assert "robot-assets platform probe --json" in caught.value.fix


def test_how_a_device_is_observed_changes_no_engine():
    from copy import deepcopy

    from robot_assets.lineage.code import Code
    from robot_assets.pipeline.graph import build_graph
    from robot_assets.pipeline.params import parse_params

    document = sample_document()
    reported = deepcopy(document)
    reported["targets"]["cpu"]["platform"] = "reported"
    graph = build_graph(parse_params(document))
    assert build_graph(parse_params(reported)) == graph
    reached = Code().modules(graph["sidewalk_detector/engine/cpu"].code)
    assert "robot_assets.platforms.probe" in reached
    assert "robot_assets.platforms.report" not in reached


def test_the_source_of_a_hash_changes_no_data_set():
    from robot_assets.lineage.code import Code
    from robot_assets.pipeline.graph import build_graph
    from robot_assets.pipeline.params import parse_params

    graph, code = build_graph(parse_params(sample_document())), Code()
    sources = {f"robot_assets.data.{name}" for name in ("entry", "recorded", "repository", "git_address")}
    for stage in graph.values():
        for part in (stage, *stage.gates):
            if part.code:
                assert not sources & set(code.modules(part.code)), stage.asset
