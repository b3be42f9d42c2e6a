"""An entry of ``targets`` in params.yaml: what decides its engines, their budgets, and how its device is observed.

Only the first changes an engine; it is the target of the entry's engine kind (``robot_assets.engines.kind``), and the
slice of the entry that the stage of an engine reads.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, TypeAdapter, create_model, model_validator

from robot_assets.core.spec import Spec
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.kind import TargetSpec
from robot_assets.engines.registry import AnyEngineKind, engine_kind, engine_kinds
from robot_assets.profiling.spec import ProfileSpec


class TargetEntry(Spec):
    """One entry of ``targets``. Validating this class gives an instance of the class of the entry's kind."""

    kind: str
    gate: GateSpec
    platform: Literal["here", "reported", "node", "fleet"] = Field(
        default="here",
        description="here: the machine of the code location is the device, and is probed; reported: the device "
        "says what it is with `robot-assets platform report`; node: the Kubernetes nodes with the label "
        "robot-assets/target=TARGET say so, with `robot-assets platform publish`; fleet: the robots of the groups with "
        "this target say so, in their signed reports",
    )
    profile: ProfileSpec | None = Field(
        default=None, description="the engines that a robot runs together on this device; none: nothing is profiled"
    )

    @property
    def target(self) -> TargetSpec:
        """The keys of its engine kind: what decides the engines of this target."""
        target: type[TargetSpec] = engine_kind(self.kind).target
        return target.model_validate({name: getattr(self, name) for name in target.model_fields})

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, entry: Any, handler: ModelWrapValidatorHandler[TargetEntry]) -> TargetEntry:
        return handler(entry) if cls is not TargetEntry else _entries().validate_python(entry)


@cache
def _entries() -> TypeAdapter[TargetEntry]:
    """Validates an entry as the class that its ``kind`` names."""
    classes = [_entry_class(kind) for kind in engine_kinds().values()]
    union: Any = reduce(or_, classes)
    return TypeAdapter(Annotated[union, Field(discriminator="kind")])


def _entry_class(kind: AnyEngineKind) -> type[TargetEntry]:
    return create_model(
        f"{kind.target.__name__}Entry",
        __base__=(kind.target, TargetEntry),
        __doc__=f"An entry of {kind.title}: the keys of its kind, and those of every target.",
    )
