"""The report that ``robot-assets platform probe --json`` prints on a device, and its validation elsewhere."""

from __future__ import annotations

from pydantic import ValidationError

from robot_assets.core.errors import PlatformError
from robot_assets.core.spec import Spec
from robot_assets.core.validation import mistakes
from robot_assets.platforms.probe import Platform

_FIX = "on the device: robot-assets platform probe --json"


class Report(Spec):
    """A device and its fingerprint, which an edited report does not match."""

    fingerprint: str
    platform: Platform


def read_report(text: str | bytes, origin: str) -> Platform:
    """Parse and verify a report.

    Args:
        text: JSON.
        origin: Name of the source in errors, such as a path.

    Raises:
        PlatformError: It is not a report, has missing or unknown keys, or its fingerprint does not match its content.
    """
    try:
        report = Report.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise PlatformError(
            "\n    ".join([f"{origin} is not a device report:", *mistakes(error)]),
            needed="the output of `robot-assets platform probe --json`, of the same version of robot-assets",
            fix=_FIX,
        ) from None
    if report.platform.fingerprint != report.fingerprint:
        raise PlatformError(
            f"{origin} has fingerprint {report.fingerprint}, but that of its content is {report.platform.fingerprint}",
            needed="an unedited report of the same version of robot-assets",
            fix=_FIX,
        )
    return report.platform
