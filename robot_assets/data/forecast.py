"""What a build of a raw data set would refuse, found without building it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from robot_assets.core.errors import DataError
from robot_assets.core.verdict import Verdict
from robot_assets.data.checks import judged_classes
from robot_assets.data.dataset import Plan, by_class, numbered, plan_dataset, units_of
from robot_assets.data.labels import label_format
from robot_assets.data.raw import Frame, RawData
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS, Unit, split_units


@dataclass(frozen=True)
class Forecast:
    """The outcome of a build.

    Attributes:
        plan: What it would pack; None when it would refuse.
        units: Sessions that stay together.
        refusals: Why it would refuse: every reason that can be known.
        classes: The gate ``classes_in_every_split`` of its result; None without a plan.
    """

    plan: Plan | None
    units: tuple[Unit, ...]
    refusals: tuple[DataError, ...]
    classes: Verdict | None = None

    @property
    def passed(self) -> bool:
        """Whether a build would pass, with this gate."""
        return not self.refusals and (self.classes is None or self.classes.passed)


def forecast(data: RawData, spec: DatasetSpec, name: str) -> Forecast:
    """Plan a build of the good images of ``data``.

    Args:
        data: Raw data with at least one good image.
        spec: Parameters of the data set.
        name: Its name in params.yaml.
    """
    try:
        plan = plan_dataset(data, spec, name)
    except DataError as error:
        units = units_of(numbered(data, spec), spec)
        sessions = _sessions(units, spec, name)
        # Classes are refused before sessions are looked at.
        more = (sessions,) if sessions and sessions.found != error.found else ()
        return Forecast(None, units, (error, *more))
    return Forecast(plan, plan.units, (), _judged(plan, spec, name))


def scored_counts(frames: Iterable[Frame], spec: DatasetSpec) -> dict[str, int]:
    """Number of labels that the metric counts, of images of a plan, for every class."""
    return by_class(map(label_format(spec.task).scored_counts, [frame.labels for frame in frames]), spec.classes)


def _sessions(units: tuple[Unit, ...], spec: DatasetSpec, name: str) -> DataError | None:
    try:
        split_units(units, spec.split, name)
    except DataError as error:
        return error
    return None


def _judged(plan: Plan, spec: DatasetSpec, name: str) -> Verdict:
    counts = {split: scored_counts(plan.frames[split], spec) for split in SPLITS}
    return judged_classes(counts, spec, name)
