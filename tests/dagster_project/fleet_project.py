"""A project with a fleet that is built in seconds: a tiny network that was trained elsewhere, for this machine."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import onnx
import yaml
from onnx import helper
from PIL import Image
from securesystemslib.signer import CryptoSigner

from dagster_project.definitions import build_definitions
from dagster_project.instance.reader import latest_data_version, latest_metadata
from dagster_project.instance.status import observe_and_read
from dagster_project.local.waves import build
from dagster_project.observing.sensor import tick as observe
from dagster_project.rebuilding.sensor import tick as rebuild
from robot_assets.core.digests import md5_of
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.desired import ROBOTS_FILE, ROOT_FILE, open_repository
from robot_assets.fleet.layout import report as report_path
from robot_assets.fleet.reports import Report, State, sign_report
from robot_assets.fleet.repository import Repository
from robot_assets.lineage.staleness import Status
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import probe
from robot_assets.provenance.keys import create_key, load_key
from robot_assets.store.tree import tree_of
from tests.foreign.graphs import constant, model

GROUP = "yard"
CLASSES = ("floor", "person")
SIZE = 64


def network(seed: int = 0) -> onnx.ModelProto:
    """One quantized convolution and the class of each pixel."""
    kernel = np.random.default_rng(seed).normal(0, 0.3, (len(CLASSES), 3, 3, 3)).astype(np.float32)
    scales = (np.abs(kernel).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    constants = [
        constant("scale", np.float32(1 / 127)),
        constant("zero", np.int8(0)),
        constant("scales", scales),
        constant("zeros", np.zeros(len(CLASSES), np.int8)),
        constant("w", kernel),
        constant("b", np.zeros(len(CLASSES), np.float32)),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["input_q"]),
        helper.make_node("DequantizeLinear", ["input_q", "scale", "zero"], ["input"]),
        helper.make_node("QuantizeLinear", ["w", "scales", "zeros"], ["weight_q"], axis=0),
        helper.make_node("DequantizeLinear", ["weight_q", "scales", "zeros"], ["weight"], axis=0),
        helper.make_node("Conv", ["input", "weight", "b"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0),
    ]
    return model(
        nodes,
        constants,
        shape=(1, 3, SIZE, SIZE),
        outputs={"labels": (1, SIZE, SIZE)},
        output_type=onnx.TensorProto.INT64,
        opset=17,
    )


def draw_raw(folder: Path, images: int = 12, sessions: int = 6) -> None:
    """Noise with a person in each image, with masks, in the raw layout."""
    rng = np.random.default_rng(0)
    records = []
    for index in range(images):
        name = f"s{index % sessions}/{index:02d}.png"
        pixels, mask = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        mask[8 : 24 + index, 8:24] = 1
        for side, content in (("images", pixels), ("masks", mask)):
            (folder / side / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / side / name)
        records.append({"id": index + 1, "file_name": name, "width": SIZE, "height": SIZE, "session": name[:2]})
    document = {
        "info": {"task": "segmentation"},
        "licenses": [],
        "images": records,
        "annotations": [],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)],
    }
    document["images"] = sorted(records, key=lambda record: str(record["file_name"]))
    (folder / "annotations.json").write_text(json.dumps(document, sort_keys=True))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = tree_of((path.relative_to(folder).as_posix(), md5_of(path)) for path in files).digest
    _point(folder, digest, sum(path.stat().st_size for path in files), nfiles=len(files))


def _point(path: Path, digest: str, size: int, **more: int) -> None:
    """Write the pointer of DVC beside a file or folder."""
    pointer = {"outs": [{"md5": digest, "size": size, "hash": "md5", "path": path.name, **more}]}
    path.with_name(f"{path.name}.dvc").write_text(yaml.safe_dump(pointer))


PARAMS: dict[str, Any] = {
    "store": {"url": ".robot_assets/store"},
    "datasets": {
        "yard": {
            "task": "segmentation",
            "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
            "classes": list(CLASSES),
            "split": {"train": 0.4, "val": 0.3, "test": 0.3},
            "calibration_images": 2,
            "near_duplicate_bits": 0,
        }
    },
    "models": {
        "floor": {
            "task": "segmentation",
            "dataset": "yard",
            "targets": ["cpu"],
            "source": {"kind": "onnx", "pointer": "data/onnx/floor.onnx.dvc", "decoder": "labels"},
        }
    },
    "targets": {
        "cpu": {
            "kind": "onnxruntime",
            "threads": 1,
            "gate": {"accuracy_drop_points_max": 5, "latency_ms_p95_max": 1000, "parity_differing_share_max": 0.1},
        }
    },
    "fleet": {
        "groups": {
            GROUP: {
                "robots": ["mower_*"],
                "target": "cpu",
                "models": ["floor"],
                "rollout": {"batches": [1, "100%"], "bake_s": 60, "failures_max": 0},
            }
        }
    },
}


ROBOTS = ("mower_1", "mower_2", "mower_3")


@dataclass
class Robot:
    """A robot that says what it is told to say."""

    name: str
    signer: CryptoSigner
    repository: Repository
    sequence: int = 0
    report: Report | None = None

    def says(
        self, running: str | None = None, state: State = State.COMMITTED, group: str = GROUP, **given: Any
    ) -> None:
        """Send the next report. What is not given is as this machine is."""
        here = probe()
        self.sequence += 1
        fields = {"fingerprint": here.fingerprint, "platform": here.as_json(), **given}
        self.report = Report(
            robot=self.name,
            group=group,
            sequence=self.sequence,
            at=datetime.now(UTC).isoformat(),
            state=state,
            running=running,
            **fields,
        )
        self.repository.files.write(report_path(group, self.name), sign_report(self.report, self.signer))

    def bakes(self, release: str) -> None:
        """Serve a release healthily for long enough."""
        self.says(release, healthy_s=3600, proven=(release,))


@dataclass
class FleetProject:
    """A checkout with an instance of its own, in this process."""

    root: Path
    instance: dg.DagsterInstance

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def repository(self) -> Repository:
        return open_repository(self.root, self.project.params.fleet)

    @property
    def assigned(self) -> Assignments:
        """What robots find."""
        found = self.repository.assignments(GROUP)
        assert found is not None
        return found

    @property
    def release(self) -> str:
        """The latest release."""
        return self.version(f"release/{GROUP}")

    def version(self, asset: str) -> str:
        found = latest_data_version(self.instance, asset)
        assert found is not None
        return found

    def headline(self, asset: str) -> str:
        return str(latest_metadata(self.instance, [asset])[asset]["headline"])

    def decision(self) -> dict[str, Any]:
        """The artifact of the rollout."""
        return json.loads((self.project.store.open(self.version(f"rollout/{GROUP}")) / "decision.json").read_bytes())

    def change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit params.yaml."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        edit(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def change_group(self, **changes: Any) -> None:
        """Edit the entry of the group."""
        self.change(lambda params: params["fleet"]["groups"][GROUP].update(changes))

    def put_network(self, seed: int) -> None:
        """Another file of the network, with its pointer, committed."""
        path = self.root / "data" / "onnx" / "floor.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(network(seed), path)
        _point(path, md5_of(path), path.stat().st_size)

    def commit(self) -> None:
        """Commit everything that git versions."""
        for command in (("add", "."), ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "more")):
            subprocess.run(["git", *command], cwd=self.root, check=True, capture_output=True)

    def robots(self) -> list[Robot]:
        """The enrolled robots, which have not said anything yet."""
        signers = {name: load_key(self.root / "keys" / f"{name}.pem") for name in ROBOTS}
        return [Robot(name, signer, self.repository) for name, signer in signers.items()]

    def build(self, *selection: str) -> dict[str, str]:
        """What `robot-assets build` builds, and why, by asset, in the order in which it was announced."""
        built: dict[str, str] = {}

        def announce(name: str, status: Status, causes: Sequence[str]) -> None:
            built[name] = "; ".join(filter(None, (built.get(name), *causes)))

        build(self.project, build_definitions(self.project), self.instance, selection, announce)
        return built

    def plan(self, asset: str) -> dict[str, tuple[str, ...]]:
        """What is not fresh, with its causes."""
        return {
            step.asset: step.causes
            for step in observe_and_read(self.project, self.instance, [asset]).plan(self.instance)
        }

    def observe(self, kind: str = "fleet") -> str:
        """One tick of the sensor of an observed kind: its message."""
        result = observe(self.root, self.instance, kind, frozenset(build_graph(self.project.params)))
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return str(getattr(result.skip_reason, "skip_message", result.skip_reason))

    def rebuild(self) -> dict[str, str]:
        """One tick of the rebuild sensor, and the runs that it asks for: why, by asset."""
        graph = build_graph(self.project.params)
        known = [name for name, stage in graph.items() if not stage.is_observed]
        requests = rebuild(self.project, self.instance, known).run_requests or []
        for request in requests:
            self._run(request)
        return {request.tags["robot_assets/asset"]: request.tags["robot_assets/because"] for request in requests}

    def _run(self, request: dg.RunRequest) -> None:
        definitions = build_definitions(self.project)
        checks = request.asset_check_keys
        selection = dg.AssetSelection.checks(*checks) if checks else dg.AssetSelection.assets(*request.asset_selection)
        dg.materialize(
            [*(definitions.assets or []), *(definitions.asset_checks or [])],
            selection=selection,
            instance=self.instance,
            resources=definitions.resources,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=True,
            tags=dict(request.tags),
        )


@functools.cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fleet_project_")


@functools.cache
def _built() -> Path:
    """A project whose release is built and whose robots are enrolled; nothing is rolled out yet. Once a process."""
    root = Path(_root().name) / "project"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (root / ".gitignore").write_text("/.robot_assets/\n/.dagster/\n/keys/\n/data/onnx/*.onnx\n/data/raw/yard/\n")
    draw_raw(root / "data" / "raw" / "yard")
    keys = {name: create_key(root / "keys" / f"{name}.pem") for name in ROBOTS}
    (root / ROBOTS_FILE).parent.mkdir()
    (root / ROBOTS_FILE).write_text("".join(f"{name}: {key}\n" for name, key in keys.items()))
    with opened(root) as fleet:
        Repository.create(fleet.repository.files, fleet.repository.keys, root / ROOT_FILE)
        fleet.put_network(0)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        fleet.commit()
        fleet.build(f"release/{GROUP}")
    return root


@contextmanager
def opened(root: Path) -> Iterator[FleetProject]:
    """The project in a folder."""
    (root / ".dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(root / ".dagster")) as instance:
        yield FleetProject(root, instance)


@contextmanager
def fleet_project(folder: Path) -> Iterator[FleetProject]:
    """A copy of the built project, in a folder that does not exist yet."""
    shutil.copytree(_built(), folder, symlinks=True)
    with opened(folder) as fleet:
        yield fleet
