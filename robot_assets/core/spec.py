"""The base of every parameter model: frozen, without unknown keys."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen section of ``params.yaml``. Unknown keys are refused: a typo must not silently select a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
