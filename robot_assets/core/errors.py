"""Errors that users can cause and fix.

::

    RobotAssetsError
    ├── ParamsError          params.yaml: unknown, missing or contradictory keys
    ├── DataError            an invalid source, label file or image
    ├── StoreError
    │   ├── ObjectMissing    a hash that neither the cache nor the remote has
    │   └── ObjectCorrupt    bytes that do not match their hash
    ├── TrainingError        training diverged, or a checkpoint does not match its network
    ├── QuantizationError    no calibration data, or scales out of range
    ├── ExportError          an operator or graph that a target does not support; parity lost
    ├── EngineError          an engine that does not match its manifest, or does not load
    └── PlatformError        a device that does not match its target

Each has three parts: what was found, what is needed, and how to fix it.
"""

from __future__ import annotations

from collections.abc import Mapping


class RobotAssetsError(Exception):
    """Base of the errors that users can cause and fix.

    Args:
        found: The faulty state, with its file, line or field.
        needed: The expected state.
        fix: How to fix it: a command that runs when pasted, where there is one.
        details: More for a machine, in values of JSON, such as the full list of which ``found`` shows the first lines;
            ``--json`` prints it beside the three parts.
    """

    def __init__(self, found: str, *, needed: str, fix: str, details: Mapping[str, object] | None = None) -> None:
        self.found = found
        self.needed = needed
        self.fix = fix
        self.details = details
        super().__init__(f"{found}\n  needed: {needed}\n  fix: {fix}")

    def as_json(self) -> dict[str, object]:
        """The three parts and the details."""
        return {**(self.details or {}), "found": self.found, "needed": self.needed, "fix": self.fix}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, so that the error survives a process boundary."""
        return (_rebuild, (type(self), self.found, self.needed, self.fix, self.details))


def _rebuild(
    kind: type[RobotAssetsError], found: str, needed: str, fix: str, details: Mapping[str, object] | None
) -> RobotAssetsError:
    return kind(found, needed=needed, fix=fix, details=details)


class ParamsError(RobotAssetsError):
    """``params.yaml`` has an unknown, missing or contradictory key."""


class DataError(RobotAssetsError):
    """A data source, a label file or an image is invalid."""


class StoreError(RobotAssetsError):
    """The artifact store cannot complete an operation."""


class ObjectMissing(StoreError):
    """A hash that neither the local cache nor the remote has."""


class ObjectCorrupt(StoreError):
    """Bytes that do not match their hash."""


class TrainingError(RobotAssetsError):
    """Training diverged, or a checkpoint does not match its network."""


class QuantizationError(RobotAssetsError):
    """Calibration or quantization cannot continue."""


class ExportError(RobotAssetsError):
    """A graph that a target does not support, or an export that lost parity."""


class EngineError(RobotAssetsError):
    """An engine that does not match its manifest, or does not load."""


class PlatformError(RobotAssetsError):
    """A device that does not match its target."""
