"""One command builds a checked int8 engine from images; a second one has nothing to do."""

import base64
import io
import json
import re
import shutil
import signal
import subprocess
import time

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from dagster_project.keys import asset_key
from tests.dagster_project.conftest import Checkout, new_checkout

ENGINE = "small_detector/engine/cpu"


def materializations(checkout: Checkout, name: str) -> int:
    with checkout.instance() as instance:
        return len(instance.fetch_materializations(asset_key(name), limit=100).records)


def test_every_asset_up_to_the_engine_is_built(built):
    report = built.build()
    assert report["built"] == {}
    assert set(report["assets"]) == {
        "raw/small",
        "datasets/small",
        "small_detector/checkpoint",
        "small_detector/ptq",
        "small_detector/qat",
        "small_detector/onnx",
        ENGINE,
    }
    assert all(row["headline"] for row in report["assets"].values())


def test_a_record_names_what_was_read_and_where_it_ran(built):
    record = built.latest(ENGINE).metadata["record"].value
    assert record["inputs"]["small_detector/onnx"] == built.latest("small_detector/onnx").tags["dagster/data_version"]
    assert set(record["inputs"]) == {"small_detector/onnx", "platform/cpu"}
    assert record["data_version"] == built.latest(ENGINE).tags["dagster/data_version"]
    assert record["libraries"]["onnxruntime"]
    assert record["code_version"] == built.latest(ENGINE).tags["dagster/code_version"]


@pytest.mark.parametrize(
    ("name", "captions"),
    [
        ("raw/small", ["Some images with their labels"]),
        ("datasets/small", ["Boxes of each class", "Recording sessions of each split"]),
        ("small_detector/checkpoint", ["Loss and mAP@50", "Predictions on unseen images"]),
        ("small_detector/ptq", ["mAP@50 on val, side by side"]),
        ("small_detector/qat", ["mAP@50 on val, side by side"]),
        ("small_detector/onnx", ["mAP@50 on val, side by side"]),
        (ENGINE, ["Latency of one frame"]),
    ],
)
def test_a_page_shows_pictures(built, name, captions):
    report = built.page(name)["report"]
    pictures = re.findall(r"!\[(.*?)\]\(data:image/png;base64,(iVBOR[^)]*)\)", report)
    assert [caption for caption, _ in pictures] == captions
    for _, encoded in pictures:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            assert image.width >= 700


def test_gates_have_passed_on_the_latest_versions(built):
    plan = json.loads(built.run("robot-assets", "plan", "--json").stdout)
    assert plan["plan"] == {}
    assert ENGINE in plan["fresh"]


def test_a_rebuild_of_lost_bytes_to_the_same_bytes_stops_there(copy_of_built):
    before = copy_of_built.latest("small_detector/onnx").tags["dagster/data_version"]
    shutil.rmtree(copy_of_built.root / ".robot_assets")
    built = copy_of_built.build("small_detector/onnx")["built"]
    assert "are not in the store" in built["raw/small"]
    assert copy_of_built.latest("small_detector/onnx").tags["dagster/data_version"] == before


def test_a_share_that_is_not_mounted_is_not_made_anew_in_its_mount_point(copy_of_built, tmp_path):
    share = tmp_path / "share"
    copy_of_built.change(lambda params: params["store"].update(url=str(share)))
    for state in ("does not exist", "has no artifacts"):
        refused = copy_of_built.run("robot-assets", "build", "datasets/small", check=False)
        assert refused.returncode == 1
        assert f"the store {share} {state}, and assets of this project were built" in refused.stderr
        assert not share.exists() or not any(share.iterdir())
        share.mkdir(exist_ok=True)
    fix = refused.stderr.rpartition("empty one: ")[2]
    subprocess.run(fix, shell=True, check=True)
    assert "datasets/small" in copy_of_built.build("datasets/small")["built"]


def test_a_new_budget_runs_the_gate_which_fails_with_a_fix(copy_of_built):
    def tighten(params):
        params["targets"]["cpu"]["gate"]["latency_ms_p95_max"] = 0.0001

    engines = materializations(copy_of_built, ENGINE)
    copy_of_built.change(tighten)
    done = copy_of_built.run("robot-assets", "build", check=False)
    assert done.returncode == 1
    assert "latency" in done.stderr
    assert "fix:" in done.stderr
    assert materializations(copy_of_built, ENGINE) == engines
    copy_of_built.change(lambda params: params["targets"]["cpu"]["gate"].update(latency_ms_p95_max=1000.0))
    assert list(copy_of_built.build()["built"]) == [ENGINE]
    assert materializations(copy_of_built, ENGINE) == engines


def test_a_new_budget_of_one_gate_runs_only_that_gate(copy_of_built):
    def evaluations():
        keys = [dg.AssetCheckKey(asset_key(ENGINE), name) for name in ("accuracy", "parity", "latency", "resources")]
        with copy_of_built.instance() as instance:
            latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        return {key.name: row.run_id for key, row in latest.items()}

    before = evaluations()
    assert len(set(before.values())) == 1, "one run has judged them all"
    copy_of_built.change(lambda params: params["targets"]["cpu"]["gate"].update(memory_mib_max=10_000))
    planned = json.loads(copy_of_built.run("robot-assets", "plan", "--json", check=False).stdout)["plan"]
    assert planned[ENGINE]["causes"] == ["the gate resources has not run on this version"]
    copy_of_built.build()
    after = evaluations()
    assert {name for name in before if before[name] != after[name]} == {"resources"}


def test_the_numbers_of_a_gate_are_entries_that_dagster_plots(built):
    keys = [dg.AssetCheckKey(asset_key(ENGINE), name) for name in ("accuracy", "latency")]
    with built.instance() as instance:
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    pages = {key.name: latest[key].event.asset_check_evaluation.metadata for key in keys}
    for gate, figure in (("accuracy", "map50"), ("latency", "latency_ms_p95")):
        page = pages[gate]
        assert page[figure].value == page["facts"].value[figure]
        assert not any(isinstance(value, dg.BoolMetadataValue) for value in page.values())


def test_missing_recordings_are_reported_and_do_not_hide_the_rest(copy_of_built):
    def expect_recordings(params):
        params["datasets"]["yard"] = params["datasets"]["small"] | {
            "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"}
        }
        params["models"]["small_detector"]["quantization"]["ptq"] = {"calibrators": ["mse"]}

    copy_of_built.change(expect_recordings)
    pointer = copy_of_built.root / "data" / "raw" / "yard.dvc"
    pointer.parent.mkdir(parents=True)
    pointer.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: yard\n")
    planned = copy_of_built.run("robot-assets", "plan", "--json", check=False)
    assert planned.returncode == 2
    plan = json.loads(planned.stdout)["plan"]
    assert "yard does not exist" in plan["raw/yard"]["causes"][0]
    assert plan["datasets/yard"]["after"] == ["raw/yard"]
    done = copy_of_built.run("robot-assets", "build", check=False)
    assert done.returncode == 1
    assert "data import" in done.stderr
    assert materializations(copy_of_built, "small_detector/ptq") == 2
    assert materializations(copy_of_built, "datasets/yard") == 0


def test_a_failing_gate_stops_what_depends_on_it(tmp_path, repository):
    """Cones are in one session only, so two splits lack them, and training must not start."""
    source = tmp_path / "source"
    for session in range(4):
        folder = source / f"day{session}" / "robot"
        folder.mkdir(parents=True)
        for frame in range(6):
            noise = np.random.default_rng([session, frame]).integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{frame}.png")
            label = 1 if session == 0 else 0
            (folder / f"{frame}.txt").write_text(f"{label} 0.5 0.5 0.25 0.25\n")
    (source / "obj.names").write_text("person\ncone\n")
    checkout = new_checkout(tmp_path / "project", repository)

    def read_recordings(params):
        recorded = params["datasets"]["small"]
        recorded["source"] = {"kind": "dvc", "pointer": "data/raw/yard.dvc"}
        recorded["classes"] = ["person", "cone"]
        recorded["calibration_images"] = 4

    checkout.change(read_recordings)
    done = checkout.run("robot-assets", "build", "small_detector/checkpoint", check=False)
    assert done.returncode == 1
    assert "robot-assets data import" in done.stderr
    checkout.run("robot-assets", "data", "import", "yolo", str(source), "--name", "yard")
    done = checkout.run("robot-assets", "build", "small_detector/checkpoint", check=False)
    assert done.returncode == 1
    assert "classes_in_every_split" in done.stderr
    assert "cone" in done.stderr
    assert "params.yaml" in done.stderr
    assert materializations(checkout, "datasets/small") == 1
    assert materializations(checkout, "small_detector/checkpoint") == 0

    checkout.change(lambda params: params["datasets"]["small"].update(exempt_classes={"cone": "only in one yard"}))
    checkout.build("datasets/small")


def test_a_build_killed_in_training_resumes_and_gives_the_same_bytes(copy_of_built):
    def train_longer(params):
        params["models"]["small_detector"]["training"]["epochs"] = 6

    copy_of_built.change(train_longer)
    command = ["robot-assets", "build", "small_detector/checkpoint"]
    build = subprocess.Popen(
        command, cwd=copy_of_built.root, env=copy_of_built.environment, stderr=subprocess.DEVNULL, text=True
    )
    work = copy_of_built.root / ".robot_assets" / "work"
    deadline = time.monotonic() + 120
    while not list(work.glob("*/scratch/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert list(work.glob("*/scratch/*"))
    copy_of_built.build("small_detector/checkpoint")
    resumed = copy_of_built.latest("small_detector/checkpoint").tags["dagster/data_version"]
    assert list(work.iterdir()) == []

    shutil.rmtree(copy_of_built.root / ".robot_assets")
    copy_of_built.build("small_detector/checkpoint")
    assert copy_of_built.latest("small_detector/checkpoint").tags["dagster/data_version"] == resumed


def test_a_selection_without_assets_lists_the_names(built):
    done = built.run("robot-assets", "build", "no_such_asset", check=False)
    assert done.returncode == 1
    assert "small_detector/checkpoint" in done.stderr


def test_dagster_selection_strings_parse_and_materialize(copy_of_built):
    before = materializations(copy_of_built, "datasets/small")
    copy_of_built.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "dagster_project.definitions",
        "--select",
        'key:"datasets/small"',
    )
    assert materializations(copy_of_built, "datasets/small") == before + 1
    assert copy_of_built.build()["built"] == {}
