"""Parameters of rebuilding: what the system does by itself, how often it tries, and when it keeps still."""

from __future__ import annotations

from datetime import time
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from robot_assets.spec import Spec

Policy = Literal["auto", "manual"]


class PolicySpec(Spec):
    """Who starts the rebuild of a stale asset of each kind: the sensor, or a person."""

    raw: Policy = "auto"
    dataset: Policy = "auto"
    checkpoint: Policy = "manual"
    ptq: Policy = "auto"
    qat: Policy = "manual"
    onnx: Policy = "auto"
    engine: Policy = "auto"


class QuietSpec(Spec):
    """A window of every day in which nothing is started; it may pass midnight."""

    start: time
    end: time
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("needed a time zone such as Europe/Berlin or UTC") from None
        return timezone


class RebuildSpec(Spec):
    """The ``rebuild`` section of params.yaml."""

    policy: PolicySpec = PolicySpec()
    tries: int = Field(default=3, ge=1, le=100, description="builds of one desired state before it is left alone")
    backoff_s: float = Field(default=60, ge=0, description="wait after the first failure; doubles with each")
    runs_per_tick: int = Field(default=10, ge=1, description="runs that one look may start")
    runs_per_pool: int = Field(default=1, ge=1, description="rebuilds at the same time on one node pool")
    canary_from: int = Field(
        default=3, ge=2, description="stale engines of one model from which one of them is built and gated first"
    )
    interval_s: int = Field(default=30, ge=1, description="seconds between two looks")
    quiet: QuietSpec | None = None
