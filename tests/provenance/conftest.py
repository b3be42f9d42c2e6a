"""A real engine with everything it was made of, in a real store, and the history that a build would have left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.record import Record, desired_state
from robot_assets.pipeline.project import Project
from robot_assets.provenance.keys import KEY_VARIABLE
from robot_assets.runtime.manifest import load_manifest
from tests.detector_chain import whole

ENGINE = "small_detector/engine/cpu"
RUN = "5b1d2c33-0b7e-4f0e-9f5a-2d8a51f1c0aa"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Workshop:
    """A project whose store holds a built engine, and the chain of that engine."""

    project: Project
    chain: Chain

    @property
    def engine(self) -> Path:
        """The engine as the store lays it out."""
        return self.project.store.open(self.chain.head.version)


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop that is copied, and never changed."""
    project = project_at(tmp_path_factory.mktemp("stocked"))
    return Workshop(project, chain_in(project))


@pytest.fixture
def workshop(stocked: Workshop, tmp_path: Path) -> Workshop:
    """A workshop with nothing signed yet, and no key."""
    objects = Path(".robot_assets", "store", "files")
    project = project_at(tmp_path / "project")
    shutil.copytree(stocked.project.root / objects, project.root / objects)
    return Workshop(project, stocked.chain)


@pytest.fixture
def robot(tmp_path: Path) -> Callable[[Workshop], Path]:
    """Copy a workshop's engine to a folder where a robot would have it, writable, without any provenance."""

    def copy(workshop: Workshop, name: str = "robot") -> Path:
        return Path(shutil.copytree(workshop.engine, tmp_path / name, copy_function=shutil.copyfile))

    return copy


def project_at(root: Path, url: str = ".robot_assets/store", more: str = "") -> Project:
    """An empty project; ``more`` is what params.yaml says besides."""
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(f"store: {{url: {url}}}\ndatasets: {{}}\nmodels: {{}}\ntargets: {{}}\n{more}")
    return Project(root)


def chain_in(project: Project) -> Chain:
    """Add the artifacts of the small detector to the store of ``project``, and tell how they came about."""
    built = whole()
    versions = {
        "datasets/drawn": project.store.add(built.dataset).digest,
        "small_detector/checkpoint": project.store.add(built.checkpoint).digest,
        "small_detector/ptq": project.store.add(built.ptq).digest,
        "small_detector/qat": project.store.add(built.qat).digest,
        "small_detector/onnx": project.store.add(built.onnx).digest,
        "raw/drawn": project.store.add(built.dataset.parent / "raw").digest,
        "platform/cpu": load_manifest(built.engine).platform_fingerprint,
        ENGINE: project.store.add(built.engine).digest,
    }
    inputs = {
        ENGINE: ["small_detector/onnx", "platform/cpu"],
        "small_detector/onnx": [
            "small_detector/checkpoint",
            "small_detector/ptq",
            "small_detector/qat",
            "datasets/drawn",
        ],
        "small_detector/qat": ["small_detector/checkpoint", "datasets/drawn"],
        "small_detector/ptq": ["small_detector/checkpoint", "datasets/drawn"],
        "small_detector/checkpoint": ["datasets/drawn"],
        "datasets/drawn": ["raw/drawn"],
    }
    produced = [link_of(asset, versions, read) for asset, read in inputs.items()]
    observed = [
        Link(asset=asset, version=versions[asset], observed_at="2026-03-01T07:00:00+00:00")
        for asset in ("raw/drawn", "platform/cpu")
    ]
    return Chain(links=(*produced, *observed))


def link_of(asset: str, versions: dict[str, str], read: list[str]) -> Link:
    record = Record(
        asset=asset,
        data_version=versions[asset],
        code_version="c" * 32,
        desired_state=desired_state(asset, "c" * 32, {name: versions[name] for name in read}),
        inputs={name: versions[name] for name in read},
        params={"target": {"kind": "onnxruntime", "threads": 1}},
        modules={"robot_assets.engines.onnxruntime_engine": "d" * 32},
        git_commit=COMMIT,
        git_dirty=False,
        image="registry.example/robot-assets@sha256:" + "e" * 64,
        node="orin-07",
        libraries={"onnxruntime": "1.32.0", "numpy": "2.3.0"},
        size_bytes=1,
        files=1,
        started_at="2026-03-01T08:00:00+00:00",
        duration_s=1.25,
        run_id=RUN,
    )
    is_engine = asset == ENGINE
    return Link(
        asset=asset,
        version=versions[asset],
        record=record,
        gates=(gate("accuracy"), gate("latency")) if is_engine else (),
        expected_gates=("accuracy", "latency") if is_engine else (),
    )


def gate(name: str, *, passed: bool = True, run_id: str = RUN, at: str = "2026-03-01T08:05:00+00:00") -> GateRecord:
    return GateRecord(
        name=name,
        passed=passed,
        summary=f"{name} {'held' if passed else 'missed'}",
        facts={"latency_ms_p95_max": 40, "latencies_ms": [1.0, 2.0]},
        run_id=run_id,
        evaluated_at=at,
    )


def with_head(chain: Chain, **changes: object) -> Chain:
    """``chain`` with another engine at its head."""
    return Chain(links=(chain.head.model_copy(update=changes), *chain.links[1:]))
