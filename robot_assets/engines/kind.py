"""The protocol of an engine kind: everything about one runtime, in one value that its module builds.

Properties of a single engine, such as its threads or the name of its file, belong to its manifest
(:class:`robot_assets.runtime.manifest.Manifest`), whose class belongs to the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isabstract
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, get_args

from robot_assets.core.dispatch import entry
from robot_assets.core.page import Facts, Page
from robot_assets.core.spec import Spec
from robot_assets.runtime.manifest import Layer, Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robot_assets.runtime.engine import Engine
    from robot_assets.store import Store

    Infer: TypeAlias = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
    """Images float32 (1, 3, H, W), preprocessed as the interface says -> its heads, in their order."""

TargetT = TypeVar("TargetT", bound="TargetSpec")
ManifestT = TypeVar("ManifestT", bound=Manifest)
_M = TypeVar("_M", bound=Manifest, covariant=True)


class TargetSpec(Spec):
    """The keys of a target that decide its engine. Each kind has a class of its own, with its name as ``kind``.

    Budgets and the observation of the device are not among them: they change no engine
    (``robot_assets.pipeline.targets``).
    """

    kind: str


@dataclass(frozen=True)
class BuildContext:
    """Services of the step that builds.

    Attributes:
        store: Keeps files from one build to the next, such as timing caches.
        note: Adds a line to the log of the run.
    """

    store: Store
    note: Callable[[str], None]


@dataclass(frozen=True)
class BuildSummary(Generic[_M]):
    """The result of a build.

    Attributes:
        manifest: The manifest of the engine.
        notes: Remarks on this one build, one line each.
        log: Output of the runtime during the build.
    """

    manifest: _M
    notes: tuple[str, ...] = ()
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineKind(Generic[TargetT, ManifestT]):
    """A runtime that engines are built for. No field has a default: a kind without one of them is a TypeError.

    Code versions start from ``build`` and ``load``, which are functions of modules, and from the two classes. So an
    edit of one kind leaves the engines and gates of all others alone.

    Attributes:
        name: The ``kind`` of its targets and manifests.
        title: Name of the runtime, such as ``ONNX Runtime``.
        target: Class of its targets.
        manifest: Class of its manifests.
        build: Builds an engine for this device. Arguments: directory of an ONNX artifact, target, directory to publish,
            context.
        load: Loads an engine whose bytes and platform match its manifest. Arguments: directory, manifest, and a number
            of CPU threads or None for the number of the manifest. Raises EngineError for a number where the kind has
            no threads to set.
        layers: The layers of an engine in the order they run. Arguments: directory, manifest.
        load_float: Loads a float ONNX on the device and threads of an engine, to be timed beside it. Arguments: ONNX
            file, manifest of the engine. None: the runtime runs no float ONNX.
        facts: Figures of a build from its summary alone.
        page: Measurements and pictures, made after the engine is stored. Arguments: summary, directory of the engine,
            directory of its ONNX artifact, directory for scratch files.
    """

    name: str
    title: str
    target: type[TargetT]
    manifest: type[ManifestT]
    build: Callable[[Path, TargetT, Path, BuildContext], BuildSummary[ManifestT]]
    load: Callable[[Path, ManifestT, int | None], Engine]
    layers: Callable[[Path, ManifestT], tuple[Layer, ...]]
    load_float: Callable[[Path, ManifestT], Infer] | None
    facts: Callable[[BuildSummary[ManifestT]], Facts]
    page: Callable[[BuildSummary[ManifestT], Path, Path, Path], Page]

    def __post_init__(self) -> None:
        for model in (self.target, self.manifest):
            if get_args(model.model_fields["kind"].annotation) != (self.name,):
                raise TypeError(f"engine kind {self.name}: needed kind: Literal[{self.name!r}] in {model.__name__}")
        if isabstract(self.manifest):
            missing = ", ".join(sorted(self.manifest.__abstractmethods__))
            raise TypeError(f"engine kind {self.name}: {self.manifest.__name__} has no {missing}")
        if "<" in f"{self.build.__qualname__}{self.load.__qualname__}":
            raise TypeError(f"engine kind {self.name}: needed functions of a module as build and load")

    def slice(self, given: Spec) -> dict[str, Any]:
        """The part of a target, or of its entry in params.yaml, that decides its engine; JSON-serializable."""
        return given.model_dump(mode="json", include=set(self.target.model_fields))

    @property
    def build_code(self) -> tuple[str, ...]:
        """Entry points of the code that builds an engine, for the code version of its stage."""
        return entry(self.build), entry(self.target), entry(self.manifest)

    @property
    def run_code(self) -> tuple[str, ...]:
        """Entry points of the code that loads and runs an engine, for the code versions of gates and profiles."""
        return entry(self.load), entry(self.manifest)
