"""The ``fleet`` section of params.yaml: groups of robots, what they run, and how a release reaches them.

Every key is described in docs/rollout.md. Light to import: the agent of a robot reads :class:`BudgetsSpec`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from robot_assets.core.paths import expanded
from robot_assets.core.spec import Spec
from robot_assets.core.validation import shown_value
from robot_assets.fleet.assignments import Recall
from robot_assets.lineage.spec import QuietSpec

LATEST = "latest"
ALL = "100%"
REPORT_S = 300.0
"""Longest time between two reports of a robot, unless its robot.yaml has another."""

_DAY_S = 86_400
_MONTH_S = 30 * _DAY_S
_YEARS_DAYS = 3650
_ROBOTS_MAX = 1_000_000
_BATCHES_MAX = 20
_DIGITS = re.compile(r"[0-9a-f]{8,64}(\.dir)?")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
_ROBOT = re.compile(r"[a-z0-9*?][a-z0-9_.*?-]{0,62}")
_NEEDED_BATCH = f"needed a number of robots from 1 to {_ROBOTS_MAX:,}, such as 5, or a share such as 10%"


def _batch(given: Any) -> int | str:
    """A batch: a count, or a share without blanks."""
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= _ROBOTS_MAX:
        return given
    share = _SHARE.fullmatch(given) if isinstance(given, str) else None
    if share and 0 < Decimal(share[1]) <= 100:
        return f"{Decimal(share[1]).normalize():f}%"
    raise ValueError(_NEEDED_BATCH + _hint(given))


def _hint(given: Any) -> str:
    """What was probably meant by something that is no batch."""
    if isinstance(given, float) and 0 < given <= 1:
        return f"; a share is written {(Decimal(str(given)) * 100).normalize():f}%"
    if isinstance(given, str) and given.isdecimal():
        return "; a number has no quotes"
    return ""


def _version(given: str) -> str:
    """First digits of a data version."""
    if not _DIGITS.fullmatch(given):
        raise ValueError("needed the first digits of a version, at least 8 of 0-9 and a-f")
    return given


Batch = Annotated[int | str, BeforeValidator(_batch)]
"""Robots that may have a release: a count, or a share of the group such as ``10%``."""


class WindowSpec(QuietSpec):
    """The daily window in which robots switch; it may extend past midnight."""

    @model_validator(mode="after")
    def _has_a_length(self) -> WindowSpec:
        if self.start == self.end:
            raise ValueError(
                f"start and end are both {self.start:%H:%M}; needed a window between them, or no window for any time"
            )
        return self


class RolloutSpec(Spec):
    """How a release reaches the robots of a group."""

    batches: tuple[Batch, ...] = Field(
        default=(1, "10%", "50%", ALL),
        min_length=1,
        max_length=_BATCHES_MAX,
        description="robots that may have a release, cumulative: counts such as 1, or shares such as 10%, rounded up; "
        "the last is 100%",
    )
    bake_s: float = Field(
        default=600, ge=0, le=_MONTH_S, description="seconds of health after which a robot counts as baked"
    )
    success_share_min: float = Field(
        default=0.9, gt=0, le=1, description="share of a batch, rounded up, that has to be baked before the next opens"
    )
    failures_max: int | None = Field(
        default=None, ge=0, description="failed robots; more stop the rollout; null: no limit but the share"
    )
    failures_share_max: float = Field(
        default=0.1, ge=0, lt=1, description="failed robots as a share of the present batch; more stop the rollout"
    )
    silence_s: float = Field(
        default=3600, gt=0, le=_MONTH_S, description="seconds without a report after which a robot that switched failed"
    )
    offline_s: float = Field(
        default=3600, gt=0, le=_MONTH_S, description="seconds without a report after which a robot is off, and pending"
    )
    report_s: float = Field(
        default=REPORT_S, gt=0, le=_DAY_S, description="seconds between two reports of a robot, as in its robot.yaml"
    )
    approval: bool = Field(default=False, description="whether a person approves each batch after the first")
    window: WindowSpec | None = Field(
        default=None, description="daily window in which robots switch; null: at any time"
    )
    download_ahead: bool = Field(default=True, description="whether robots download a release before it is their turn")
    prove_s: float = Field(
        default=60, ge=0, le=_DAY_S, description="seconds of health on the robot before it commits to a release"
    )
    on_recall: Literal["last_good", "stop"] = Field(
        default="last_good", description="what a robot does whose every set is recalled: serve the last good, or none"
    )

    @field_validator("batches")
    @classmethod
    def _increasing_to_all(cls, batches: tuple[int | str, ...]) -> tuple[int | str, ...]:
        counts = [batch for batch in batches if isinstance(batch, int)]
        shares = [batch for batch in batches if isinstance(batch, str)]
        _require_increasing(counts, counts)
        _require_increasing(shares, [percent(share) for share in shares])
        if batches and batches[-1] != ALL:
            raise ValueError(f"the last batch is {batches[-1]}; needed {ALL}, so that every robot has its turn")
        return batches

    @model_validator(mode="after")
    def _reports_in_time(self) -> RolloutSpec:
        if self.offline_s < self.report_s:
            raise ValueError(
                f"offline_s is {self.offline_s:g} and report_s {self.report_s:g}: robots would be off between two of "
                f"their reports; needed offline_s of at least {self.report_s:g}, or the report_s of their robot.yaml"
            )
        return self


def percent(share: str) -> Decimal:
    """The number of a share: 10 of ``10%``."""
    return Decimal(share.removesuffix("%"))


def _require_increasing(batches: Sequence[int | str], sizes: Sequence[int | Decimal]) -> None:
    """Refuse batches of one kind in a wrong order. A count and a share compare by the size of the group alone."""
    for (batch, size), (following, following_size) in pairwise(zip(batches, sizes, strict=True)):
        if following_size <= size:
            raise ValueError(f"{following} comes after {batch}; needed increasing batches, since they are cumulative")


class ApprovalSpec(Spec):
    """Approval by a person: batches of one release, up to a number."""

    release: str = Field(description="first digits of the version of the release, at least 8")
    batch: int = Field(
        ge=1, le=_BATCHES_MAX, description="the highest batch that may open; the page of the rollout has numbers"
    )

    _digits = field_validator("release")(_version)


class BudgetsSpec(Spec):
    """Budgets of a group, with the names of ``targets.T.gate``: the gates of an engine were at least as tight."""

    accuracy_drop_points_max: float | None = Field(
        default=None, ge=0, description="points (of 100) of the metric that an engine may lose against float"
    )
    latency_ms_p95_max: float | None = Field(default=None, gt=0, description="95 % of all frames, ms")
    latency_ms_p99_max: float | None = Field(default=None, gt=0, description="99 % of all frames, ms")
    memory_mib_max: float | None = Field(default=None, gt=0, description="memory that a loaded engine adds, MiB")
    engine_size_mib_max: float | None = Field(default=None, gt=0, description="size of the engine's file, MiB")

    @model_validator(mode="after")
    def _percentiles_in_order(self) -> BudgetsSpec:
        p95, p99 = self.latency_ms_p95_max, self.latency_ms_p99_max
        if p95 is not None and p99 is not None and p95 > p99:
            raise ValueError(
                f"latency_ms_p95_max is {p95:g} and latency_ms_p99_max {p99:g}; "
                "needed latency_ms_p95_max of at most latency_ms_p99_max"
            )
        return self


class GroupSpec(Spec):
    """One entry of ``fleet.groups``."""

    robots: tuple[str, ...] = Field(
        min_length=1, description="ids of robots, and patterns such as delivery_*; the first go first"
    )
    target: str = Field(description="entry of targets: the device that these robots have")
    models: tuple[str, ...] = Field(min_length=1, description="entries of models: a release has an engine of each")
    release: str = Field(default=LATEST, description="latest, or the first digits of a version to pin, at least 8")
    paused: bool = Field(default=False, description="whether no further robot may have the release")
    approved: ApprovalSpec | None = Field(default=None, description="with rollout.approval: what a person approved")
    budgets: BudgetsSpec = BudgetsSpec()
    rollout: RolloutSpec = RolloutSpec()

    @field_validator("robots")
    @classmethod
    def _ids_and_patterns(cls, robots: tuple[str, ...]) -> tuple[str, ...]:
        for robot in robots:
            if not _ROBOT.fullmatch(robot):
                raise ValueError(
                    f"{shown_value(robot)} is no id of a robot and no pattern; needed at most 63 lower-case letters, "
                    "digits, '_', '-' and '.', a letter or digit first; in a pattern, '*' is any text and '?' one "
                    "character"
                )
        _refuse_repeated("robot", robots)
        return robots

    @field_validator("models")
    @classmethod
    def _models_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        _refuse_repeated("model", models)
        return models

    @field_validator("release")
    @classmethod
    def _latest_or_pinned(cls, release: str) -> str:
        if release != LATEST and not _DIGITS.fullmatch(release):
            raise ValueError(f"needed {LATEST}, or the first digits of a version, at least 8 of 0-9 and a-f")
        return release


def _refuse_repeated(noun: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{noun} {name} is named {'twice' if count == 2 else f'{count} times'}; needed once")


class FleetSpec(Spec):
    """The ``fleet`` section."""

    url: str = Field(
        default=".robot_assets/fleet",
        min_length=1,
        description="the distribution repository: a path inside the project, or any fsspec URL; ~ and $VARIABLE are "
        "expanded",
    )
    groups: dict[str, GroupSpec] = Field(default_factory=dict)
    recalls: tuple[Recall, ...] = Field(default=(), description="hashes that nothing on a robot may be made of")
    timestamp_days: int = Field(
        default=7, ge=1, le=_YEARS_DAYS, description="days after which robots distrust an unrenewed repository"
    )

    @field_validator("url")
    @classmethod
    def _as_a_shell(cls, url: str) -> str:
        url = expanded(url)
        if url.lower().startswith(("http://", "https://")):
            raise ValueError("a web server cannot be written; needed the storage behind it; robots may read by HTTP")
        return url

    @field_validator("groups", "recalls", mode="before")
    @classmethod
    def _empty_section(cls, section: Any, info: Any) -> Any:
        """A section whose entries are all commented out has none."""
        return section if section is not None else {} if info.field_name == "groups" else ()
