"""JSON documents of artifacts: the same document gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` to ``path``: indented, keys sorted, a line break at the end.

    Raises:
        ValueError: A number is infinite or NaN, which JSON does not have.
    """
    path.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
