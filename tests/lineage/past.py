"""A history in plain dicts, for tests of audits, reports and look-ups."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from robot_assets.lineage.audit import Materialization
from robot_assets.lineage.chain import GateRecord
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.lineage.record import Record, desired_state

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
COMMIT = "4f0c2d9e" + 32 * "0"

RAW, DATA, CHECKPOINT, ONNX, DEVICE, ENGINE = (
    "raw/yard",
    "datasets/yard",
    "mower/checkpoint",
    "mower/onnx",
    "platform/cpu",
    "mower/engine/cpu",
)
GATES = ("no_leakage", "accuracy", "latency")


def version_of(text: str) -> str:
    """Some data version of a directory."""
    return hashlib.md5(text.encode()).hexdigest() + ".dir"


def yard_graph() -> dict[str, Stage]:
    """Recorded data, a data set with a gate, a checkpoint, an ONNX, a device and an engine with two gates."""
    code = ("robot_assets.core.verdict:Verdict",)
    no_leakage, accuracy, latency = (Gate(name, f"The {name} is right.", code) for name in GATES)
    stages = [
        Stage(RAW, "raw"),
        Stage(DATA, "dataset", code, inputs=(RAW,), gates=(no_leakage,)),
        Stage(DEVICE, "platform"),
        Stage(CHECKPOINT, "checkpoint", code, inputs=(DATA,)),
        Stage(ONNX, "onnx", code, inputs=(CHECKPOINT, DATA)),
        Stage(ENGINE, "engine", code, inputs=(ONNX, DEVICE), gates=(accuracy, latency)),
    ]
    return {stage.asset: stage for stage in stages}


TRAITS = {
    "raw": AssetTraits("Raw data"),
    "datasets": AssetTraits("Data set"),
    "platform": AssetTraits("Device", holds_bytes=False),
    "checkpoint": AssetTraits("Checkpoint"),
    "engine": AssetTraits("Engine", files=("engine.*",)),
}


def yard_traits(asset: str) -> AssetTraits:
    """Traits by the words of a name; those of a plain asset where none is known, as of the ONNX."""
    return next((TRAITS[word] for word in asset.split("/") if word in TRAITS), AssetTraits())


@dataclass
class Past:
    """Builds, observations and evaluations in sequence; each takes ten seconds of its own clock."""

    now: datetime = START
    made: dict[tuple[str, str], list[tuple[int, datetime]]] = field(default_factory=dict)
    records: dict[int, Record | None] = field(default_factory=dict)
    seen: dict[tuple[str, str], datetime] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    judged: dict[tuple[str, str], dict[str, GateRecord]] = field(default_factory=dict)
    declarations: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def build(
        self, asset: str, inputs: Mapping[str, str] | Sequence[str] = (), version: str | None = None, **changes: Any
    ) -> str:
        """Materialize an asset from its inputs' latest versions, or from the given ones."""
        read = dict(inputs) if isinstance(inputs, Mapping) else {name: self.latest[name] for name in inputs}
        number = len(self.records) + 1
        version = version or version_of(f"{asset} {number}")
        code = changes.pop("code_version", "c" * 32)
        record = Record(
            **{
                "asset": asset,
                "data_version": version,
                "code_version": code,
                "desired_state": desired_state(asset, code, read),
                "inputs": read,
                "params": {"training": {"epochs": 3}},
                "git_commit": COMMIT,
                "git_dirty": False,
                "image": None,
                "node": "bench-1",
                "libraries": {"numpy": "2.1"},
                "size_bytes": 1000,
                "files": 2,
                "started_at": self.now.isoformat(timespec="seconds"),
                "duration_s": 5.0,
                "run_id": f"run-{number}",
            }
            | changes
        )
        self.materialize(asset, version, record)
        return version

    def materialize(self, asset: str, version: str, record: Record | None) -> None:
        number = len(self.records) + 1
        self.records[number] = record
        self.made.setdefault((asset, version), []).insert(0, (number, self.now + timedelta(seconds=5)))
        self.latest[asset] = version
        self.now += timedelta(seconds=10)

    def observe(self, asset: str, version: str) -> str:
        self.seen.setdefault((asset, version), self.now)
        self.latest[asset] = version
        self.now += timedelta(seconds=10)
        return version

    def judge(self, asset: str, gate: str, passed: bool = True, **facts: Any) -> None:
        """Evaluate a gate on the latest version of an asset."""
        self.judged.setdefault((asset, self.latest[asset]), {})[gate] = GateRecord(
            name=gate,
            passed=passed,
            summary="fine" if passed else "p95 41 ms (budget 40 ms)",
            facts=facts,
            run_id="run-gate",
            evaluated_at=self.now.isoformat(),
        )

    def assets(self) -> Sequence[str]:
        return sorted(self.latest)

    def latest_version(self, asset: str) -> str | None:
        return self.latest.get(asset)

    def materializations(self, asset: str, version: str) -> Sequence[Materialization]:
        self.asked["materializations"] += 1
        return [Materialization(number, ended_at) for number, ended_at in self.made.get((asset, version), ())]

    def record(self, asset: str, number: int) -> Record:
        self.asked["record"] += 1
        record = self.records[number]
        if record is None:
            raise LineageError("has no record", needed="a record", fix="build it again")
        return record

    def first_observed(self, asset: str, version: str) -> str | None:
        time = self.seen.get((asset, version))
        return time.isoformat() if time else None

    def declared(self, asset: str, version: str) -> Mapping[str, Any]:
        return self.declarations.get((asset, version), {})

    def gates(self, asset: str, version: str) -> Sequence[GateRecord]:
        return list(self.judged.get((asset, version), {}).values())

    def holders(self, digest: str) -> Sequence[tuple[str, str]]:
        newest = sorted(self.made, key=lambda key: -self.made[key][0][0])
        return [key for key in [*newest, *self.seen] if key[1].startswith(digest)]


def built_yard() -> Past:
    """The whole of ``yard_graph`` built once, with nothing wrong."""
    past = Past()
    past.observe(RAW, version_of("recordings"))
    past.observe(DEVICE, "f" * 32)
    past.build(DATA, [RAW])
    past.judge(DATA, "no_leakage")
    past.build(CHECKPOINT, [DATA])
    past.build(ONNX, [CHECKPOINT, DATA])
    past.build(ENGINE, [ONNX, DEVICE])
    past.judge(ENGINE, "accuracy")
    past.judge(ENGINE, "latency")
    return past


@dataclass
class GivenStore:
    """A store that has all bytes but the lost ones."""

    lost: set[str] = field(default_factory=set)

    def has(self, digest: str) -> bool:
        return digest not in self.lost
