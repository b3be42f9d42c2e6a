"""Parameters of provenance: whose signatures count."""

from __future__ import annotations

from pydantic import Field, field_validator

from robot_assets.core.spec import Spec
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.public_key import parse_public_key


class ProvenanceSpec(Spec):
    """The ``provenance`` section of params.yaml."""

    trusted_keys: tuple[str, ...] = Field(
        default=(),
        description="public keys that may sign engines, as `robot-assets key show` prints them; "
        "an empty list means the key of this checkout",
    )

    @field_validator("trusted_keys")
    @classmethod
    def _are_keys(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        keys = []
        for line in lines:
            try:
                keys.append(parse_public_key(line))
            except ProvenanceError as error:
                raise ValueError(f"{error.found}; needed {error.needed}") from None
        if len(set(keys)) < len(keys):
            raise ValueError("a key is given twice")
        return lines
