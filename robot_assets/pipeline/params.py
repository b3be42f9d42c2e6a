"""``params.yaml`` -> frozen models. Parsed once, at the edge; unknown and contradictory keys are refused.

Each package of the domain defines the model of its own section (``robot_assets/<package>/spec.py``); this module
assembles them and checks references between sections.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from robot_assets.cluster.spec import ExecutionSpec, PoolSpec, check_cache, check_placement
from robot_assets.core.errors import ParamsError
from robot_assets.core.paths import expanded, shown_path
from robot_assets.core.spec import Spec
from robot_assets.core.text import listed, plural
from robot_assets.core.validation import mistakes, nearest, needed_of, shown_value, unknown
from robot_assets.core.yaml_documents import YamlFault, composed, load_yaml, node_at
from robot_assets.data.entry import DatasetEntry
from robot_assets.fleet.spec import FleetSpec, GroupSpec
from robot_assets.lineage.spec import RebuildSpec
from robot_assets.pipeline.models import ModelSpec as ModelSpec
from robot_assets.pipeline.models import OnnxModel, TrainedModel, class_of, options_class
from robot_assets.pipeline.names import NAME
from robot_assets.pipeline.registry import reserved_words, stage_kinds
from robot_assets.pipeline.targets import TargetEntry
from robot_assets.profiling.spec import ProfileSpec
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import parse_public_key
from robot_assets.provenance.spec import ProvenanceSpec
from robot_assets.sensitivity.entry import resolved
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.tasks.networks import OwnNetwork
from robot_assets.weights.spec import WeightsEntry

_SHOWN = 20
_LONGEST = 60
_PATTERN_SIGNS = frozenset("*?")
_RECALLED = re.compile(r"[0-9a-f]{8,64}(\.dir)?")


class StoreSpec(Spec):
    """The location of artifacts."""

    url: str = Field(
        description="any fsspec URL, or a path inside the project: s3://bucket/prefix, .robot_assets/store; "
        "~ and $VARIABLE are expanded"
    )

    @field_validator("url")
    @classmethod
    def _as_a_shell(cls, url: str) -> str:
        return expanded(url)


class Params(Spec):
    """The whole of ``params.yaml``."""

    store: StoreSpec
    datasets: dict[str, DatasetEntry] = Field(default_factory=dict)
    models: dict[str, ModelSpec] = Field(default_factory=dict)
    targets: dict[str, TargetEntry] = Field(default_factory=dict)
    weights: dict[str, WeightsEntry] = Field(default_factory=dict)
    stages: dict[str, Any] = Field(default={}, description="parameters of stage kinds as a whole, by kind")
    rebuild: RebuildSpec = RebuildSpec()
    provenance: ProvenanceSpec = ProvenanceSpec()
    execution: ExecutionSpec = ExecutionSpec()
    pools: dict[str, PoolSpec] = Field(default_factory=dict)
    fleet: FleetSpec = FleetSpec()

    def trained(self) -> Iterator[tuple[str, TrainedModel]]:
        """The models that are trained here, with their names."""
        for name, model in self.models.items():
            if isinstance(model, TrainedModel):
                yield name, model

    def imported(self) -> Iterator[tuple[str, OnnxModel]]:
        """The models that were trained elsewhere, with their names."""
        for name, model in self.models.items():
            if isinstance(model, OnnxModel):
                yield name, model

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
                needed=f"a target with a profile: {listed(described)}" if described else "a target with a profile",
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

    @field_validator("datasets", "models", "targets", "weights", "stages", "pools", "fleet", mode="before")
    @classmethod
    def _empty_section(cls, section: Any) -> Any:
        """A section whose entries are all commented out has none."""
        return {} if section is None else section

    @model_validator(mode="after")
    def _names_and_references(self) -> Params:
        found = [
            *self._bad_names(),
            *self._bad_references(),
            *self._bad_models(),
            *self._bad_profiles(),
            *self._bad_groups(),
            *self._bad_robots(),
            *self._bad_recalls(),
        ]
        if found:
            raise ValueError("\n".join(found))
        return self

    def _bad_names(self) -> Iterator[str]:
        for section in ("datasets", "models", "targets", "weights"):
            for name in getattr(self, section):
                if not re.fullmatch(NAME, name):
                    yield f"{section}.{name}: a name is lower-case letters, digits and underscores, a letter first"
        for name in self.models:
            if name in reserved_words():
                yield f"models.{name}: other assets begin with {name}/; needed another name"
        for name in self.fleet.groups:
            if not re.fullmatch(NAME, name):
                yield f"fleet.groups.{name}: a name is lower-case letters, digits and underscores, a letter first"

    def _bad_references(self) -> Iterator[str]:
        for name, model in self.models.items():
            if model.dataset not in self.datasets:
                yield f"models.{name}.dataset: {unknown('data set', model.dataset, self.datasets)}"
            for target in model.targets:
                if target not in self.targets:
                    yield f"models.{name}.targets: {unknown('target', target, self.targets)}"
            if model.weights is not None and model.weights not in self.weights:
                yield f"models.{name}.network.weights: {unknown('entry', model.weights, self.weights, 'weights')}"

    def _bad_models(self) -> Iterator[str]:
        """Models that do not fit their data set, and options that do not fit their decoder or their classes."""
        for name, model in self.models.items():
            if (dataset := self.datasets.get(model.dataset)) is None:
                continue
            if model.task != dataset.task:
                yield (
                    f"models.{name}.task: is {model.task}, and its data set {model.dataset} is of {dataset.task}; "
                    f"needed task: {model.task} in datasets.{model.dataset}, another data set, or task: {dataset.task}"
                )
                continue
            try:
                model.check(dataset.classes)
            except ValueError as error:
                yield from (f"models.{name}.{line}" for line in str(error).splitlines())

    def _bad_profiles(self) -> Iterator[str]:
        for target, entry in self.targets.items():
            for name in entry.profile.models if entry.profile else ():
                place = f"targets.{target}.profile.models.{name}"
                if name not in self.models:
                    yield f"{place}: {unknown('model', name, self.models)}"
                elif target not in self.models[name].targets:
                    yield (
                        f"{place}: models.{name}.targets is {shown_value(self.models[name].targets)}, so no engine of "
                        f"it is built for {target}; needed {target} among them, or {name} out of the profile"
                    )

    def _bad_groups(self) -> Iterator[str]:
        """Groups of robots whose target or models do not exist, and targets whose robots are in no group."""
        for group, entry in self.fleet.groups.items():
            if entry.target not in self.targets:
                yield f"fleet.groups.{group}.target: {unknown('target', entry.target, self.targets)}"
            for model in entry.models:
                yield from self._bad_member(f"fleet.groups.{group}.models", model, entry)
        in_groups = {entry.target for entry in self.fleet.groups.values()}
        for target, described in self.targets.items():
            if described.platform == "fleet" and target not in in_groups:
                yield (
                    f"targets.{target}.platform: is fleet, and no group of fleet.groups has the target {target}, so no "
                    "robot reports it; needed such a group, or here, reported or node"
                )

    def _bad_member(self, place: str, model: str, entry: GroupSpec) -> Iterator[str]:
        if model not in self.models:
            yield f"{place}: {unknown('model', model, self.models)}"
        elif entry.target in self.targets and entry.target not in self.models[model].targets:
            yield (
                f"{place}: models.{model}.targets is {shown_value(self.models[model].targets)}, so no engine of it is "
                f"built for {entry.target}; needed {entry.target} among them, or {model} out of the group"
            )

    def _bad_robots(self) -> Iterator[str]:
        """Robots that two groups name: each robot takes one release. Patterns are left out."""
        groups: dict[str, str] = {}
        for group, entry in self.fleet.groups.items():
            for robot in entry.robots:
                if set(robot) & _PATTERN_SIGNS:
                    continue
                place = f"fleet.groups.{group}.robots"
                if robot in self.fleet.groups:
                    yield f"{place}: {robot} is also the name of a group; needed another name for one of them"
                if robot in groups:
                    yield f"{place}: {robot} is also in fleet.groups.{groups[robot]}; needed each robot in one group"
                groups.setdefault(robot, group)

    def _bad_recalls(self) -> Iterator[str]:
        seen: set[str] = set()
        for index, recall in enumerate(self.fleet.recalls):
            place = f"fleet.recalls.{index}.hash"
            if not _RECALLED.fullmatch(recall.hash) and not _is_key(recall.hash):
                yield f"{place}: needed 8 to 64 hexadecimal digits, lower case, or a key such as ed25519:..."
            if recall.hash in seen:
                yield f"{place}: {recall.hash} is recalled twice; needed it once"
            seen.add(recall.hash)

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
        given = {name: _config(name, config, self.stages.get(name, {})) for name, config in configured.items()}
        object.__setattr__(self, "stages", given)  # parsed once; the model is frozen for everybody else
        return self

    @model_validator(mode="after")
    def _places(self) -> Params:
        check_placement(self.execution, self.pools, {name: entry.platform for name, entry in self.targets.items()})
        check_cache(self.execution, self.pools, has_remote="://" in self.store.url or self.store.url.startswith("/"))
        return self


def _is_key(text: str) -> bool:
    try:
        parse_public_key(text)
    except ProvenanceError:
        return False
    return True


def _config(kind: str, config: type[Spec], given: Any) -> Spec:
    try:
        return config.model_validate(given)
    except ValidationError as error:
        raise ValueError("\n".join(f"stages.{kind}.{mistake}" for mistake in mistakes(error))) from None


def _refuse_unknown(section: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{section}.{name}: {unknown('kind of stage', name, known, 'kinds of stages')}")


def load_params(path: Path) -> Params:
    """Read and validate ``params.yaml``.

    Raises:
        ParamsError: The file is missing, is not YAML, or has an unknown, missing or contradictory key.
    """
    payload = _read(path)
    try:
        document = load_yaml(payload)
    except YamlFault as fault:
        raise _not_yaml(path, fault) from None
    return parse_params(document, origin=str(path), text=payload.decode("utf-8"))


def parse_params(document: Any, origin: str = "params.yaml", text: str | None = None) -> Params:
    """Validate an already loaded document.

    Args:
        document: The document.
        origin: Names it in errors.
        text: What it was loaded from, for lines in errors.

    Raises:
        ParamsError: An unknown, missing or contradictory key.
    """
    if not isinstance(document, dict):
        raise _no_mapping(document, origin)
    found = [_Mistake(steps, "needed a number", shown_value(value)) for steps, value in _booleans_for_numbers(document)]
    try:
        params = Params.model_validate(document)
    except ValidationError as error:
        found += [one for detail in error.errors(include_url=False) for one in _mistakes(detail, document)]
    else:
        if not found:
            return params
    node = composed(text) if text else None
    raise _refused([_located(mistake, node) for mistake in dict.fromkeys(found)], origin)


@dataclass(frozen=True)
class _Mistake:
    """One mistake: the steps to its key, what was needed, and the value that was found, as YAML has it."""

    steps: tuple[int | str, ...]
    needed: str
    found: str = ""
    is_untexted: bool = False


def _refused(mistakes: Sequence[tuple[int | None, str]], origin: str) -> ParamsError:
    """The error for mistakes: (line, sentence) each."""
    sentences = [f"line {line}: {sentence}" if line else sentence for line, sentence in mistakes]
    more = [f"and {len(sentences) - _SHOWN} more"] if len(sentences) > _SHOWN else []
    lines = [str(line) for line in sorted({line for line, _ in mistakes if line})]
    where = f"line{'s' if len(lines) > 1 else ''} {listed(lines)} of {shown_path(Path(origin))}" if lines else origin
    return ParamsError(
        f"{origin} has {plural(len(sentences), 'mistake')}:\n    " + "\n    ".join(sentences[:_SHOWN] + more),
        needed="only known keys, each with a valid value that agrees with the others",
        fix=f"correct {where}",
        details={"mistakes": sentences},
    )


def _located(mistake: _Mistake, root: yaml.Node | None) -> tuple[int | None, str]:
    """The line of a mistake and its sentence, with the value as it was typed."""
    node = node_at(root, mistake.steps)
    place = ".".join(str(step) for step in mistake.steps)
    found = mistake.found
    needed = mistake.needed
    is_list_of_it = needed == "needed a list" and isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str")
    if (found or is_list_of_it) and isinstance(node, yaml.ScalarNode) and node.value:
        found = node.value if node.style is None and len(node.value) <= _LONGEST else shown_value(node.value)
    if mistake.is_untexted and found != "no value":
        needed += f": YAML reads {found} as another type; write it in quotes"
    elif is_list_of_it:
        needed += f", such as [{found}] (found {found})"
    elif found and (len(found) < 6 or found not in needed):
        needed += f" (found {found})"
    return node.start_mark.line + 1 if node else None, f"{place}: {needed}" if place else needed


def _booleans_for_numbers(document: Any) -> Iterator[tuple[tuple[int | str, ...], bool]]:
    """Places where a number is needed and YAML reads yes, on or true: pydantic takes these for 1."""
    pending: list[tuple[tuple[int | str, ...], Any]] = [((), document)]
    seen = set()  # an anchor can have any number of aliases
    for steps, value in pending:
        if isinstance(value, bool) and _needs_number(_annotations_at(steps, document)):
            yield steps, value
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [((*steps, key), inner) for key, inner in entries]


def _needs_number(annotations: Sequence[Any]) -> bool:
    kinds = {kind for annotation in annotations for kind in (annotation, *get_args(annotation))}
    return bool(kinds & {int, float}) and not kinds & {bool, Any}


def _mistakes(detail: Any, document: Any) -> Iterator[_Mistake]:
    """The mistakes that pydantic found as one; those of references between sections are lines with their places."""
    steps = _steps(detail["loc"])
    if not steps:
        for line in needed_of(detail).splitlines():
            place, _, needed = line.partition(": ")
            yield _Mistake(tuple(place.split(".")), needed)
        return
    if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
        return  # pydantic counts the valid entries alone; each of the others is a mistake of its own
    needed, value = needed_of(detail), detail["input"]
    if (kept := _without_alternatives(steps, detail["type"], document)) != steps:
        if (detail["type"] == "string_type") == isinstance(value, dict | list):
            return  # of the other alternative: the other one has the mistake
        steps = kept
    if key := _OF_A_KEY.match(needed):
        found = shown_value(value[key[1]]) if isinstance(value, dict) and key[1] in ("mean", "std") else ""
        yield _Mistake((*steps, *key[1].split(".")), needed[key.end() :], found)
    elif detail["type"] == "extra_forbidden":
        yield _Mistake(steps, needed + _near_key(steps, document))
    elif detail["type"] == "missing" and isinstance(steps[-1], int):
        yield _Mistake(steps[:-1], f"needed {_length(steps[:-1], document)} entries", shown_value(value))
    elif detail["type"] in ("missing", "invalid_key") or isinstance(value, dict):
        yield _Mistake(steps, needed)
    else:
        is_untexted = detail["type"] == "string_type" and not isinstance(value, list | dict)
        yield _Mistake(steps, needed, shown_value(value), is_untexted=is_untexted)


_OF_A_KEY = re.compile(r"(kind|task|network\.kind|source|network|training|loss|mean|std): ")
"""How validators of a whole section begin the message about one of its keys."""


def _without_alternatives(steps: tuple[int | str, ...], kind: str, document: Any) -> tuple[int | str, ...]:
    """A place without the names of alternatives: pydantic has ``trained_on.str`` where text or a mapping may be."""
    kept: list[int | str] = []
    holder = document
    for step in steps:
        is_index = isinstance(holder, list) and isinstance(step, int) and step < len(holder)
        if is_index or (isinstance(holder, dict) and step in holder):
            holder = holder[step]
        elif kind != "missing" or step != steps[-1]:
            continue
        kept.append(step)
    return tuple(kept)


def _length(steps: tuple[int | str, ...], document: Any) -> int:
    """The length that a list has to have."""
    return max((len(get_args(annotation)) for annotation in _annotations_at(steps, document)), default=0)


def _near_key(steps: tuple[int | str, ...], document: Any) -> str:
    """Words for an unknown key: the nearest of the keys at its place, else the key below which it is known."""
    key = str(steps[-1])
    there = [model for annotation in _annotations_at(steps[:-1], document) for model in _models_in(annotation)]
    known = {name for model in there for name in model.model_fields} - {key}
    if (same := key.replace("-", "_")) in known:
        return f"; did you mean {same!r}?"
    below = (name for model in there for name, field in model.model_fields.items() if _has(field.annotation, key))
    if (place := next(below, None)) is not None:
        return f"; it belongs below {place}"
    if OwnNetwork in there:
        return "; parameters of the class are keys of arguments"
    near = nearest(same, known)
    return f"; did you mean {near!r}?" if near else ""


def _annotations_at(steps: tuple[int | str, ...], document: Any) -> list[Any]:
    """The types that the value at a place of params.yaml may have."""
    found: list[Any] = [Params]
    if len(steps) > 1 and steps[0] == "models":
        found, steps = _annotations_of_model(document["models"], steps[1], steps[2:])
    for step in steps:
        found = [inner for annotation in found for inner in _inside(annotation, step)]
    return found


def _annotations_of_model(
    models: Any, name: int | str, steps: tuple[int | str, ...]
) -> tuple[list[Any], tuple[int | str, ...]]:
    """The types at some place of an entry of ``models``, and the steps from there: what it has decides its class."""
    entry = models[name]
    try:
        found = class_of(entry) if isinstance(entry, Mapping) else ModelSpec
    except ValueError:
        return [ModelSpec], steps
    if len(steps) > 1 and steps[1] in ("heads", "options"):
        options = options_class(found, entry, str(steps[0]))
        return ([options], steps[2:]) if options else ([found], steps)
    return [found], steps


def _inside(annotation: Any, step: int | str) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        for model in _models_in(annotation):
            if step in model.model_fields:
                yield model.model_fields[str(step)].annotation
    elif get_origin(annotation) is dict:
        yield get_args(annotation)[1]
    elif get_origin(annotation) in (tuple, list):
        yield get_args(annotation)[0]
    else:
        for argument in get_args(annotation):
            yield from _inside(argument, step)


def _has(annotation: Any, key: str) -> bool:
    """Whether a section is of a model with this key."""
    is_section = isinstance(annotation, type) and issubclass(annotation, Spec)
    return is_section and key in annotation.model_fields


def _steps(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The path of a mistake in the file, without what pydantic inserts: kinds of sources and targets, ``[key]``."""
    steps = [step for step in location if step != "[key]"]
    section = steps[0] if steps else ""
    chosen = {"datasets": 3, "targets": 2}.get(str(section))
    if chosen is not None and len(steps) > chosen and (section == "targets" or steps[2] == "source"):
        del steps[chosen]
    return tuple(steps)


def _models_in(annotation: Any) -> Iterator[type[Spec]]:
    """The models of a type: itself, those of each kind of source, target and so on."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
        for model in annotation.__subclasses__():
            yield from _models_in(model)
    elif get_origin(annotation) not in (dict, tuple, list):
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ParamsError(
            f"no parameters at {path}",
            needed="a params.yaml at the top of the project",
            fix=f"robot-assets init {shown_path(path.parent)}   # or: git checkout {shown_path(path)}",
        ) from None
    except OSError as error:
        raise ParamsError(
            f"{path} cannot be read: {error.strerror}",
            needed="a readable file",
            fix=f"ls -ld {shown_path(path)}   # shows its type, owner and permissions",
        ) from None


def _not_yaml(path: Path, fault: YamlFault) -> ParamsError:
    file = shown_path(path)
    fix = f"git status   # then edit {file}: {fault.fix}" if fault.has_conflict else f"edit {file}: {fault.fix}"
    return ParamsError(f"{path}: {fault.what}", needed="valid YAML in UTF-8", fix=fix)


def _no_mapping(document: Any, origin: str) -> ParamsError:
    what = "is empty" if document is None else f"has no keys; it is {shown_value(document)}"
    return ParamsError(
        f"{origin} {what}",
        needed="the sections store, datasets, models and targets",
        fix=f"git checkout {shown_path(Path(origin))}   # or remove the file and run: robot-assets init",
    )
