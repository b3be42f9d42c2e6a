"""A real engine with everything that it was made of, in a real store, and the chain that its build would have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot_assets.engines.load import load_manifest
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.code import CODE_RULE
from robot_assets.lineage.record import Record, desired_state
from robot_assets.pipeline.project import Project
from robot_assets.provenance.keys import KEY_VARIABLE
from robot_assets.provenance.signing import sign_engine, sign_gates
from tests.detector_chain import whole

ENGINE = "small_detector/engine/cpu"
RUN = "5b1d2c33-0b7e-4f0e-9f5a-2d8a51f1c0aa"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class BuiltProject:
    """A project whose store has a built engine, and the chain of that engine."""

    project: Project
    chain: Chain

    @property
    def engine(self) -> Path:
        """The engine, checked out by the store."""
        return self.project.store.open(self.chain.head.version)

    def sign(self, chain: Chain | None = None) -> None:
        """Sign how the engine was made, as a build does."""
        sign_engine(self.project.store, self.project.key, chain or self.chain)

    def sign_gates(self, chain: Chain | None = None) -> None:
        """Sign the results of the gates of the engine, as their evaluation does."""
        sign_gates(self.project.store, self.project.key, chain or self.chain)

    @property
    def statements(self) -> dict[str, bytes]:
        """The envelopes that the store has for the engine, by name."""
        return self.project.store.attestations(self.chain.head.version)


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> BuiltProject:
    """A built project that is copied, and never changed."""
    project = project_at(tmp_path_factory.mktemp("stocked"))
    return BuiltProject(project, chain_in(project))


@pytest.fixture
def built(stocked: BuiltProject, tmp_path: Path) -> BuiltProject:
    """A built project with nothing signed yet, and no key."""
    objects = Path(".robot_assets", "store", "files")
    project = project_at(tmp_path / "project")
    shutil.copytree(stocked.project.root / objects, project.root / objects)
    return BuiltProject(project, stocked.chain)


@pytest.fixture
def robot(tmp_path: Path) -> Callable[[BuiltProject], Path]:
    """Copy the engine of a built project to a folder, writable and without envelopes, as a robot would have it."""

    def copy(built: BuiltProject, name: str = "robot") -> Path:
        return Path(shutil.copytree(built.engine, tmp_path / name, copy_function=shutil.copyfile))

    return copy


def project_at(root: Path, url: str = ".robot_assets/store", more: str = "") -> Project:
    """An empty project; ``more`` are further lines of params.yaml."""
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(f"store: {{url: {url}}}\ndatasets: {{}}\nmodels: {{}}\ntargets: {{}}\n{more}")
    return Project(root)


def chain_in(project: Project) -> Chain:
    """Add the artifacts of the small detector to the store of ``project``, and return the chain of its engine."""
    artifacts = whole()
    versions = {
        "datasets/drawn": project.store.add(artifacts.dataset).digest,
        "small_detector/checkpoint": project.store.add(artifacts.checkpoint).digest,
        "small_detector/ptq": project.store.add(artifacts.ptq).digest,
        "small_detector/qat": project.store.add(artifacts.qat).digest,
        "small_detector/onnx": project.store.add(artifacts.onnx).digest,
        "raw/drawn": project.store.add(artifacts.dataset.parent / "raw").digest,
        "platform/cpu": load_manifest(artifacts.engine).platform_fingerprint,
        ENGINE: project.store.add(artifacts.engine).digest,
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
        Link(
            asset=asset,
            version=versions[asset],
            holds_bytes=asset != "platform/cpu",
            observed_at="2026-03-01T07:00:00+00:00",
        )
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
        code={"robot_assets.engines.onnxruntime.build:build_engine": "d" * 12},
        code_rule=CODE_RULE,
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
