"""Every error that a person can cause.

::

    RobotAssetsError
    ├── ParamsError          params.yaml: unknown, missing or contradictory keys
    ├── DataError            a source, a label file or an image is not what it must be
    ├── StoreError
    │   ├── ObjectMissing    a hash that neither the cache nor the remote has
    │   └── ObjectCorrupt    bytes that are not what their hash says
    ├── TrainingError        diverged, or a checkpoint that does not fit the network
    ├── QuantizationError    nothing to calibrate with, scales out of range
    ├── ExportError          an operator or a graph that a target would refuse; parity lost
    ├── EngineError          an engine that does not match its manifest, or does not load
    └── PlatformError        a device that is not what the target says

Each one says what was found, what was needed, and what to do about it.
"""

from __future__ import annotations


class RobotAssetsError(Exception):
    """Base of the errors that a person can cause.

    Args:
        found: What was met, with the file, line or field that it was met in.
        needed: What has to be there instead.
        fix: What to do now; a command where there is one.
    """

    def __init__(self, found: str, *, needed: str, fix: str) -> None:
        self.found = found
        self.needed = needed
        self.fix = fix
        super().__init__(f"{found}\n  needed: {needed}\n  fix: {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, so that the error survives a process boundary."""
        return (_rebuild, (type(self), self.found, self.needed, self.fix))


def _rebuild(kind: type[RobotAssetsError], found: str, needed: str, fix: str) -> RobotAssetsError:
    return kind(found, needed=needed, fix=fix)


class ParamsError(RobotAssetsError):
    """``params.yaml`` has an unknown, missing or contradictory key."""


class DataError(RobotAssetsError):
    """A data source, a label file or an image is not what it must be."""


class StoreError(RobotAssetsError):
    """The artifact store cannot do what it was asked."""


class ObjectMissing(StoreError):
    """A hash that neither the local cache nor the remote has."""


class ObjectCorrupt(StoreError):
    """Bytes that are not what their hash says."""


class TrainingError(RobotAssetsError):
    """Training diverged, or a checkpoint does not fit its network."""


class QuantizationError(RobotAssetsError):
    """Calibration or quantization cannot go on."""


class ExportError(RobotAssetsError):
    """A graph that a target would refuse, or an export that lost parity."""


class EngineError(RobotAssetsError):
    """An engine that does not match its manifest, or does not load."""


class PlatformError(RobotAssetsError):
    """A device that is not what its target says."""
