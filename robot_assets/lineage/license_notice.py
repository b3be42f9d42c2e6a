"""A notice travels with everything that is made of what it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from robot_assets.core.publishing import publishing_file


def carry_notice(inputs: Iterable[Path], output: Path) -> None:
    """Copy the ``NOTICE`` of what ``output`` was made of into it, as licences such as Apache-2.0 ask.

    Notices of several inputs are joined; an output that already has one keeps it. A single file cannot carry one.
    """
    target = output / "NOTICE"
    if target.exists() or not output.is_dir():
        return
    notices = dict.fromkeys(notice.read_bytes() for path in inputs if (notice := path / "NOTICE").is_file())
    if notices:
        with publishing_file(target) as staging:
            staging.write_bytes(b"\n".join(notices))
