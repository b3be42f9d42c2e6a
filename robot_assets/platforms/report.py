"""What ``robot-assets platform probe --json`` prints on a device, and how it is read elsewhere."""

from __future__ import annotations

from pydantic import ValidationError

from robot_assets.core.errors import PlatformError
from robot_assets.core.spec import Spec
from robot_assets.platforms.probe import Platform


class Report(Spec):
    """A device and its fingerprint, which seals it: an edited report does not match."""

    fingerprint: str
    platform: Platform


def read_report(text: str | bytes, origin: str) -> Platform:
    """The device that a report tells of.

    Args:
        text: JSON.
        origin: What to call it in errors.

    Raises:
        PlatformError: It is no report, has a key too many or too few, or its fingerprint is not that of its content.
    """
    fix = "print it again on the device: robot-assets platform probe --json"
    try:
        report = Report.model_validate_json(text, strict=True)
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, detail['loc'])) or 'the document'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise PlatformError(
            f"{origin} is not the report of a device:\n    " + "\n    ".join(mistakes),
            needed="what robot-assets platform probe --json prints, of the same version of robot-assets",
            fix=fix,
        ) from None
    if report.platform.fingerprint != report.fingerprint:
        raise PlatformError(
            f"{origin} says fingerprint {report.fingerprint}, and that of its content is {report.platform.fingerprint}",
            needed="a report that nobody has edited, of the same version of robot-assets",
            fix=fix,
        )
    return report.platform
