"""The protocol of a stage kind: everything about one kind of asset, in one value that its module builds.

A kind is data and plain functions. It knows nothing of Dagster; ``dagster_project`` makes assets, checks and pages in
loops over the registry. Policy, description and functions are fields without a default: a kind that lacks
one is an error when its module is imported.

A kind imports :class:`Step` and :class:`GateStep` under ``TYPE_CHECKING``: code versions follow the annotations of
parameters, and an edit of these two classes would make every stage stale (docs/code_versions.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from robot_assets.core.dispatch import entry as entry
from robot_assets.core.page import Facts, Page
from robot_assets.core.spec import Spec
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.lineage.spec import Policy
from robot_assets.pipeline.names import FIELDS, AssetName, NamePattern

if TYPE_CHECKING:
    from robot_assets.core.errors import RobotAssetsError
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project
    from robot_assets.platforms.probe import Platform
    from robot_assets.store import Store

_T = TypeVar("_T")


@dataclass(frozen=True)
class Step:
    """One run of one stage, as its code sees it: paths and frozen parameters.

    Attributes:
        stage: What is made.
        name: Its name, parsed.
        inputs: Every input of the stage, opened read-only at the version that the record names.
        versions: Data version of each input.
        output: Where the artifact is published. It does not exist yet.
        scratch: A folder for what a killed run leaves to the next one. It does not exist yet.
        store: For what is kept beside artifacts, such as timing caches.
        note: Adds a line to the log of the run.
        project: For what a stage writes outside of its artifact: the distribution repository of a fleet.
    """

    stage: Stage
    name: AssetName
    inputs: Mapping[str, Path]
    versions: Mapping[str, str]
    output: Path
    scratch: Path
    store: Store
    note: Callable[[str], None]
    project: Project

    @property
    def spec(self) -> Any:
        """The frozen parameters, of the type that the kind gave the stage."""
        return self.stage.spec


@dataclass(frozen=True)
class GateStep:
    """Some gates of one asset, to be judged in one go.

    Attributes:
        stage: The asset's stage.
        name: Its name, parsed.
        gates: Those that are asked for.
        artifact: The asset, opened read-only.
        inputs: Everything that these gates read beside it, opened read-only, by asset.
        project: For whose signatures count, and which versions the store still has.
    """

    stage: Stage
    name: AssetName
    gates: tuple[Gate, ...]
    artifact: Path
    inputs: Mapping[str, Path]
    project: Project


@dataclass(frozen=True)
class Production:
    """How a kind makes its assets.

    Attributes:
        description: What the asset is, one sentence; ``{dataset}``, ``{model}`` and ``{target}`` are filled in.
        policy: Who starts a rebuild unless params.yaml says otherwise.
        tools: Short names for the badges of an asset, such as ``pytorch``.
        run: Makes ``step.output`` and returns a summary.
        facts: What is known from the summary alone.
        page: What is measured and drawn once the artifact is stored and recorded. A page that fails is a warning.
        judge: The verdict of each gate that is asked for, by name; None for a kind without gates.
        is_signed: Whether each version gets signed provenance, and a check that its lineage is intact.
        precheck: Raises what would end a long ``run`` late, and makes nothing: so it is no part of the code version.
        fleet_keys: Roles of the distribution repository with whose private keys ``run`` signs. On a cluster its steps
            get these keys, and no other step does.
    """

    description: str
    policy: Policy
    tools: tuple[str, ...]
    run: Callable[[Step], Any]
    facts: Callable[[Any], Facts]
    page: Callable[[Step, Any], Page]
    judge: Callable[[GateStep], Mapping[str, Verdict]] | None = None
    is_signed: bool = False
    precheck: Callable[[Step], Any] | None = None
    fleet_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sighting:
    """What an observed asset is at one look.

    Attributes:
        version: Hash of the data, or fingerprint of the device.
        what: Where that was read, as a person would put it.
        facts: What else is known, for the page: text, numbers, or lists of text.
    """

    version: str
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observer:
    """One look at the world. What several assets need, such as the probe of this device, is read once.

    Attributes:
        project: What there is to observe.
        nodes: Reads the device of a target from its cluster nodes, and says which. None: nodes cannot be asked from
            here, and such a device has the version that was observed last.
        is_step: Whether a step asks. What many reports say is not read again by each step, which would find another
            version than the one that it was started for: such an asset has the version that was observed last.
    """

    project: Project
    nodes: Callable[[str], tuple[Platform, str]] | None = None
    is_step: bool = False

    def once(self, what: str, read: Callable[[], _T]) -> _T:
        """The answer of ``read`` when it was first asked for ``what``."""
        if what not in self._answers:
            self._answers[what] = read()
        answer: _T = self._answers[what]
        return answer

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Sensor:
    """The sensor that observes all assets of a kind.

    Attributes:
        name: Of the sensor.
        description: What it does, for its page.
        noun: What one of its assets is called, such as ``data pointer``.
        idle: What it says when there is nothing to observe.
        intervals: Looks in one interval of the rebuild sensor.
    """

    name: str
    description: str
    noun: str
    idle: str
    intervals: int = 1


@dataclass(frozen=True)
class Observation:
    """How a kind reads the version of assets that are made elsewhere.

    Attributes:
        description: What the asset is, one sentence.
        tools: Short names for the badges of an asset.
        sensor: Observes all of them.
        observe: What the asset is now; None when that cannot be seen from here. Raises RobotAssetsError.
        unseen: Why it cannot be seen from here, and what can be done.
        reports_itself: Whether somebody else reports its version.
        require_available: Refuses a version that nobody could open.
        open: Opens a version.
        shows_changes: Whether a change of its facts is worth a line on the tick of the sensor.
    """

    description: str
    tools: tuple[str, ...]
    sensor: Sensor
    observe: Callable[[Observer, AssetName], Sighting | None]
    unseen: Callable[[Project, AssetName], RobotAssetsError]
    reports_itself: Callable[[Project, AssetName], bool]
    require_available: Callable[[Project, AssetName, str], None]
    open: Callable[[Project, AssetName, str], Path]
    shows_changes: bool = False


@dataclass(frozen=True)
class StageKind:
    """One kind of asset.

    Attributes:
        name: Such as ``checkpoint``: the key of its policy under ``rebuild.policy`` in params.yaml.
        pattern: How its assets are named.
        group: The group of an asset in the UI; ``{dataset}``, ``{model}`` and ``{target}`` are filled in.
        traits: What is known of an asset by its name alone.
        stages: The stages that params.yaml gives, for all kinds after those of their inputs.
        production: How its assets are made; None when all are observed.
        observation: How its assets are observed; None when all are made here.
        config: Parameters of the kind as a whole, under ``stages.<name>`` in params.yaml; None: it has none.
    """

    name: str
    pattern: NamePattern
    group: str
    traits: AssetTraits
    stages: Callable[[Params], Iterable[Stage]]
    production: Production | None = None
    observation: Observation | None = None
    config: type[Spec] | None = None

    def __post_init__(self) -> None:
        if self.production is None and self.observation is None:
            raise TypeError(f"stage kind {self.name}: needed a production, an observation or both")

    def group_of(self, name: AssetName) -> str:
        """The group of one of its assets."""
        return _filled(self.group, name)

    def description_of(self, stage: Stage, name: AssetName) -> str:
        """What one of its assets is."""
        part = self.observation if stage.is_observed else self.production
        return _filled(part.description, name) if part else ""


def _filled(text: str, name: AssetName) -> str:
    return text.format(**{field: getattr(name, field) for field in FIELDS})
