"""Parameters of a data set: source of its images, classes and split."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from robot_assets.core.spec import Spec
from robot_assets.core.validation import unknown
from robot_assets.tasks.labels import DEFAULT_TASK
from robot_assets.tasks.registry import tasks

SIMULATED_CLASSES = ("pedestrian", "cyclist", "car", "robot", "cone", "bin")
"""Classes of the simulation's boxes, in the order of their category ids."""

SIMULATED_MASK_CLASSES = (
    "road",
    "sidewalk",
    "kerb",
    "crossing",
    "grass",
    "vegetation",
    "building",
    "obstacle",
    "person",
    "vehicle",
    "sky",
)
"""Classes of the simulation's masks, in the order of their values."""

LABEL_TASKS = {"boxes": "detection", "masks": "segmentation"}
"""The task of each kind of the simulation's labels."""


class SimulationSource(Spec):
    """Images of a simulated sidewalk, rendered from a seed."""

    kind: Literal["simulation"]
    images: int = Field(gt=0)
    sessions: int = Field(gt=2, description="recording sessions; each has its own street, weather and light")
    width: int = Field(ge=64, le=4096)
    height: int = Field(ge=64, le=4096)
    seed: int = Field(ge=0)
    labels: Literal["boxes", "masks"] = Field(
        default="boxes",
        description="boxes of objects, for detection; masks with the class of every pixel, for segmentation",
    )

    @property
    def label_classes(self) -> tuple[str, ...]:
        """Classes of the labels, in the order of their category ids."""
        return SIMULATED_MASK_CLASSES if self.labels == "masks" else SIMULATED_CLASSES

    @property
    def label_task(self) -> str:
        """The task that the labels are for."""
        return LABEL_TASKS[self.labels]

    @model_validator(mode="after")
    def _enough_images(self) -> SimulationSource:
        if self.images < self.sessions:
            raise ValueError(f"images={self.images} is less than sessions={self.sessions}: raise images")
        return self


class DvcSource(Spec):
    """Recorded images, referenced by a ``.dvc`` pointer in git."""

    kind: Literal["dvc"]
    pointer: str = Field(description="path of the pointer inside the project, ending in .dvc")

    @field_validator("pointer")
    @classmethod
    def _stays_inside(cls, pointer: str) -> str:
        path = PurePosixPath(pointer)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".dvc":
            raise ValueError("needed a relative path inside the project that ends in .dvc")
        return pointer


class SplitSpec(Spec):
    """Share of images of each split. A recording session is in exactly one split."""

    train: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitSpec:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test is {total:g}, needed 1: change one of the three")
        return self


class DatasetSpec(Spec):
    """One entry of ``datasets`` in params.yaml."""

    task: str = Field(default=DEFAULT_TASK, description="name of a task: what the labels are")
    source: Annotated[SimulationSource | DvcSource, Field(discriminator="kind")]
    classes: tuple[str, ...] = Field(min_length=1)
    split: SplitSpec
    calibration_images: int = Field(default=128, gt=0, description="images of train used for PTQ calibration")
    near_duplicate_bits: int = Field(
        default=2,
        ge=0,
        le=16,
        description="images whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates",
    )
    exempt_classes: dict[str, str] = Field(
        default_factory=dict, description="class -> reason why it may be absent from a split"
    )

    @field_validator("task")
    @classmethod
    def _is_task(cls, task: str) -> str:
        if task not in tasks():
            raise ValueError(unknown("task", task, tasks()))
        return task

    @model_validator(mode="after")
    def _labels_agree(self) -> DatasetSpec:
        if isinstance(self.source, SimulationSource) and self.task != self.source.label_task:
            labels, task = self.source.labels, self.source.label_task
            other = next((one for one, its_task in LABEL_TASKS.items() if its_task == self.task), None)
            found = f"task is {self.task}, and source.labels is {labels}, which are for {task}"
            change = f"source.labels: {other}" if other else "recorded data"
            raise ValueError(f"{found}: write task: {task}, or {change}")
        return self

    @model_validator(mode="after")
    def _classes_agree(self) -> DatasetSpec:
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"classes has a duplicate name, {twice!r}: remove one")
        unknown = sorted(set(self.exempt_classes) - set(self.classes))
        if unknown:
            raise ValueError(f"exempt_classes has {unknown[0]!r}, which is not in classes: {', '.join(self.classes)}")
        if isinstance(self.source, SimulationSource):
            simulated = self.source.label_classes
            unknown = sorted(set(self.classes) - set(simulated))
            if unknown:
                what = f"{self.source.labels} of {', '.join(simulated)}"
                raise ValueError(f"classes has {unknown[0]!r}; the simulation has {what}")
        return self
