"""Parameters of rebuilding: which stages are rebuilt automatically, how many attempts are made, and when none is."""

from __future__ import annotations

from datetime import time
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from robot_assets.core.spec import Spec

Policy = Literal["auto", "manual"]
LONGEST_BACKOFF_S = 86_400


class QuietSpec(Spec):
    """A daily window in which nothing is started; it may extend past midnight."""

    start: time
    end: time
    timezone: str = "UTC"

    @field_validator("start", "end", mode="before")
    @classmethod
    def _in_quotes(cls, clock: Any) -> Any:
        # YAML 1.1 reads 22:00 as the number 22 * 60, which pydantic would take for 1320 seconds past midnight.
        if isinstance(clock, int | float):
            raise ValueError('needed a time in quotes, such as "22:00"')
        return clock

    @field_validator("start", "end")
    @classmethod
    def _without_zone(cls, clock: time) -> time:
        if clock.tzinfo is not None:
            raise ValueError("needed a time alone; put the zone into timezone")
        return clock

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("needed a time zone such as Europe/Berlin or UTC") from None
        return timezone

    @model_validator(mode="after")
    def _has_a_length(self) -> QuietSpec:
        if self.start == self.end:
            raise ValueError(f"start and end are both {self.start:%H:%M}; needed a window between them, or no quiet")
        return self


class RebuildSpec(Spec):
    """The ``rebuild`` section of params.yaml."""

    policy: dict[str, Policy] = Field(
        default={}, description="who starts a rebuild, by kind of stage; every kind has a default"
    )
    tries: int = Field(default=3, ge=1, le=100, description="attempts at one desired state before it is left alone")
    backoff_s: float = Field(
        default=60,
        ge=0,
        le=LONGEST_BACKOFF_S,
        description="wait after the first failure; doubles, up to a day",
    )
    runs_per_tick: int = Field(default=10, ge=1, description="runs that one tick may start")
    runs_per_pool: int = Field(default=1, ge=1, description="simultaneous rebuilds on one node pool")
    canary_from: int = Field(
        default=3, ge=2, description="a fleet with at least this many stale stages rebuilds one first, as a canary"
    )
    interval_s: int = Field(default=30, ge=1, description="seconds between two ticks")
    quiet: QuietSpec | None = None
