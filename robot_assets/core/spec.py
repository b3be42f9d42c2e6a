"""The base of every parameter model: frozen, and closed to keys that it does not know."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen slice of ``params.yaml``. Unknown keys are refused: a typo must never be a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
