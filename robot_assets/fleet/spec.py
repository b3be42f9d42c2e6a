"""The ``fleet`` section of params.yaml: groups of robots, what they run, and how a release reaches them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.fleet.assignments import Recall
from robot_assets.lineage.spec import QuietSpec


class WindowSpec(QuietSpec):
    """The daily window in which robots switch; it may extend past midnight."""


class RolloutSpec(Spec):
    """How a release reaches the robots of a group."""

    batches: tuple[int | str, ...] = Field(
        default=(1, "10%", "50%", "100%"),
        description="robots that may have a release, cumulative: counts such as 1, or shares such as 10%",
    )
    bake_s: float = Field(default=600, ge=0, description="health of a batch before the next one, seconds")
    success_share_min: float = Field(default=0.9, description="share of a batch that has to be baked before the next")
    failures_max: int | None = Field(default=None, description="failed robots that stop the rollout, when exceeded")
    failures_share_max: float = Field(default=0.1, description="share of the started robots; stops it when exceeded")
    silence_s: float = Field(default=3600, gt=0, description="a robot that has switched and is silent for this failed")
    offline_s: float = Field(default=3600, gt=0, description="a robot without a report for this is off, and pending")
    approval: bool = Field(default=False, description="whether a person approves each batch after the first")
    window: WindowSpec | None = Field(default=None, description="daily window in which robots switch")
    download_ahead: bool = Field(default=True, description="whether robots download a release before it is their turn")
    prove_s: float = Field(default=60, ge=0, description="health on the robot before it commits, seconds")
    on_recall: Literal["last_good", "stop"] = "last_good"


class ApprovalSpec(Spec):
    """What a person has approved: batches of one release, up to a number."""

    release: str
    batch: int = Field(ge=1)


class BudgetsSpec(Spec):
    """Budgets of a group: the gates of an engine have to have been at least as tight. Names as in ``targets.T.gate``."""

    accuracy_drop_points_max: float | None = None
    latency_ms_p95_max: float | None = None
    latency_ms_p99_max: float | None = None
    memory_mib_max: float | None = None
    engine_size_mib_max: float | None = None


class GroupSpec(Spec):
    """One entry of ``fleet.groups``."""

    robots: tuple[str, ...] = Field(description="ids of robots, and patterns such as delivery_*; the first go first")
    target: str
    models: tuple[str, ...]
    release: str = Field(default="latest", description="latest, or the first digits of a version to pin")
    paused: bool = False
    approved: ApprovalSpec | None = None
    budgets: BudgetsSpec = BudgetsSpec()
    rollout: RolloutSpec = RolloutSpec()


class FleetSpec(Spec):
    """The ``fleet`` section."""

    url: str = Field(
        default=".robot_assets/fleet",
        description="the distribution repository: a path inside the project, or any fsspec URL",
    )
    groups: dict[str, GroupSpec] = Field(default_factory=dict)
    recalls: tuple[Recall, ...] = ()
    timestamp_days: int = Field(default=7, ge=1, description="days after which robots distrust an unrenewed repository")
