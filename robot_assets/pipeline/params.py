"""``params.yaml`` -> frozen models. Parsed once, at the edge; unknown and contradictory keys are refused.

Each package of the domain defines the model of its own section (``robot_assets/<package>/spec.py``); this module
assembles them and checks references between sections.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from robot_assets.cluster.spec import ExecutionSpec, PoolSpec, check_cache, check_placement
from robot_assets.core.errors import ParamsError
from robot_assets.core.spec import Spec
from robot_assets.core.text import plural
from robot_assets.data.entry import DatasetEntry
from robot_assets.lineage.spec import RebuildSpec
from robot_assets.pipeline.names import NAME
from robot_assets.pipeline.registry import reserved_words, stage_kinds
from robot_assets.pipeline.targets import TargetEntry
from robot_assets.profiling.spec import ProfileSpec
from robot_assets.provenance.spec import ProvenanceSpec
from robot_assets.sensitivity.entry import QuantizationEntry, resolved
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.spec import TrainingSpec


class StoreSpec(Spec):
    """The location of artifacts."""

    url: str = Field(
        description="any fsspec URL, or a path inside the project: s3://bucket/prefix, .robot_assets/store"
    )


class ModelSpec(Spec):
    """One entry of ``models`` in params.yaml."""

    task: Literal["detection"]
    dataset: str
    targets: tuple[str, ...] = Field(min_length=1)
    network: NetworkSpec
    training: TrainingSpec
    quantization: QuantizationEntry


class Params(Spec):
    """The whole of ``params.yaml``."""

    store: StoreSpec
    datasets: dict[str, DatasetEntry]
    models: dict[str, ModelSpec]
    targets: dict[str, TargetEntry]
    stages: dict[str, Any] = Field(default={}, description="parameters of stage kinds as a whole, by kind")
    rebuild: RebuildSpec = RebuildSpec()
    provenance: ProvenanceSpec = ProvenanceSpec()
    execution: ExecutionSpec = ExecutionSpec()
    pools: dict[str, PoolSpec] = Field(default_factory=dict)

    def profile_of(self, target: str) -> ProfileSpec:
        """The profile of a target.

        Raises:
            ParamsError: params.yaml has no such target, or the target has no profile.
        """
        entry = self.targets.get(target)
        if entry is None or entry.profile is None:
            described = sorted(name for name, one in self.targets.items() if one.profile)
            raise ParamsError(
                f"params.yaml has no targets.{target}.profile",
                needed=f"a target with a profile; there {'are' if len(described) > 1 else 'is'} {described or 'none'}",
                fix=f"name one of them, or write targets.{target}.profile: {{models: {{MODEL: {{rate_hz: 15}}}}}}",
            )
        return entry.profile

    def sensitivity_of(self, model: str) -> SensitivitySpec | None:
        """The sensitivity analysis of a model, with the bound of its targets; None when it has none.

        Raises:
            ValueError: Its own bound is looser than the accuracy gate of a target.
        """
        entry = self.models[model]
        if entry.quantization.sensitivity is None:
            return None
        gates = [self.targets[target].gate.accuracy_drop_points_max for target in entry.targets]
        return resolved(entry.quantization.sensitivity, gates)

    @model_validator(mode="after")
    def _names_and_references(self) -> Params:
        for section in ("datasets", "models", "targets"):
            for name in getattr(self, section):
                if not re.fullmatch(NAME, name):
                    raise ValueError(f"{section}.{name}: a name is lower-case letters, digits and underscores")
        for name, model in self.models.items():
            if name in reserved_words():
                raise ValueError(f"models.{name}: other assets begin with {name}/; needed another name")
            if model.dataset not in self.datasets:
                raise ValueError(f"models.{name}.dataset is {model.dataset!r}; datasets has {sorted(self.datasets)}")
            strange = [target for target in model.targets if target not in self.targets]
            if strange:
                raise ValueError(f"models.{name}.targets has {strange}; targets has {sorted(self.targets)}")
        return self

    @model_validator(mode="after")
    def _profiles(self) -> Params:
        for target, entry in self.targets.items():
            for name in entry.profile.models if entry.profile else ():
                place = f"targets.{target}.profile.models.{name}"
                if name not in self.models:
                    raise ValueError(f"{place}: no such model; models has {sorted(self.models)}")
                if target not in self.models[name].targets:
                    raise ValueError(
                        f"{place}: models.{name}.targets is {list(self.models[name].targets)}, so no engine of it is "
                        f"built for {target}; needed {target} among them, or {name} out of the profile"
                    )
        return self

    @model_validator(mode="after")
    def _sensitivity(self) -> Params:
        for name in self.models:
            try:
                self.sensitivity_of(name)
            except ValueError as error:
                raise ValueError(f"models.{name}.quantization.sensitivity.{error}") from None
        return self

    @model_validator(mode="after")
    def _stage_kinds(self) -> Params:
        """Check policies and parameters of stage kinds against the registry, which includes plug-ins."""
        produced = [name for name, kind in stage_kinds().items() if kind.production]
        _refuse_unknown("rebuild.policy", self.rebuild.policy, produced)
        configured = {name: kind.config for name, kind in stage_kinds().items() if kind.config}
        _refuse_unknown("stages", self.stages, configured)
        given = {name: config.model_validate(self.stages.get(name, {})) for name, config in configured.items()}
        object.__setattr__(self, "stages", given)  # parsed once; the model is frozen for everybody else
        return self

    @model_validator(mode="after")
    def _places(self) -> Params:
        check_placement(self.execution, self.pools, {name: entry.platform for name, entry in self.targets.items()})
        check_cache(self.execution, self.pools, has_remote="://" in self.store.url or self.store.url.startswith("/"))
        return self


def _refuse_unknown(section: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            raise ValueError(
                f"{section}.{name}: unknown key"
                + (f"; did you mean {near[0]!r}?" if near else f"; known: {sorted(known)}")
            )


def load_params(path: Path) -> Params:
    """Read and validate ``params.yaml``.

    Raises:
        ParamsError: The file is missing, is not YAML, or has an unknown, missing or contradictory key.
    """
    try:
        document = yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ParamsError(
            f"no parameters at {path}",
            needed="a params.yaml at the top of the project",
            fix="run the command inside a robot-assets project, or restore the file: git checkout params.yaml",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(
            f"{path} is not readable YAML: {error}",
            needed="valid YAML in UTF-8",
            fix="fix the line named above",
        ) from None
    return parse_params(document, origin=str(path))


def parse_params(document: Any, origin: str = "params.yaml") -> Params:
    """Validate an already loaded document; ``origin`` names it in errors.

    Raises:
        ParamsError: An unknown, missing or contradictory key.
    """
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        lines = [_sentence(detail) for detail in error.errors(include_url=False)]
        raise ParamsError(
            f"{origin} has {plural(len(lines), 'mistake')}:\n    " + "\n    ".join(lines),
            needed="only known keys, each with a valid value that agrees with the others",
            fix=f"edit {origin} at the keys named above",
        ) from None


def _sentence(detail: Any) -> str:
    """One mistake as one line, with the nearest known key when the key is unknown."""
    steps = _steps(detail["loc"])
    place = ".".join(str(step) for step in steps) or "the document"
    if detail["type"] == "extra_forbidden":
        key = str(steps[-1])
        near = difflib.get_close_matches(key, sorted(_every_key()), n=1, cutoff=0.6)
        return f"{place}: unknown key" + (f"; did you mean {near[0]!r}?" if near and near[0] != key else "")
    if detail["type"] == "missing":
        return f"{place}: missing"
    if detail["type"] == "union_tag_not_found":
        return f"{place}.kind: missing"
    if detail["type"] == "union_tag_invalid":
        return f"{place}.kind: needed one of {detail['ctx']['expected_tags']} (found {detail['ctx']['tag']!r})"
    message = detail["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(detail["input"], dict) else f" (found {detail['input']!r})"
    return f"{place}: {message}{shown}"


def _steps(location: tuple[int | str, ...]) -> list[int | str]:
    """The path of a mistake in the file, without the kinds of sources and targets that pydantic inserts."""
    steps = list(location)
    section = steps[0] if steps else ""
    chosen = {"datasets": 3, "targets": 2}.get(str(section))
    if chosen is not None and len(steps) > chosen and (section == "targets" or steps[2] == "source"):
        del steps[chosen]
    return steps


def _every_key() -> set[str]:
    """All keys of params.yaml, with those of every kind of source, target and stage."""
    pending: list[type[Spec]] = [Params, *(kind.config for kind in stage_kinds().values() if kind.config)]
    found: set[type[Spec]] = set()
    while pending:
        model = pending.pop()
        if model not in found:
            found.add(model)
            pending += model.__subclasses__()
            pending += [one for field in model.model_fields.values() for one in _models_in(field.annotation)]
    return {key for model in found for key in model.model_fields}


def _models_in(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:  # the one in C takes a fifth of the time, and the rebuild sensor reads params.yaml at every tick
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_Loader):
    """PyYAML silently keeps the last of two equal keys; here a duplicate key is an error."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
