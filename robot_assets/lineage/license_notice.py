"""The ``NOTICE`` of an input is part of everything that is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from robot_assets.core.publishing import publishing_file


def carry_notice(inputs: Iterable[Path], output: Path) -> None:
    """Copy the ``NOTICE`` of each input into ``output``, as licences such as Apache-2.0 require.

    Notices of several inputs are joined; an output that already has one keeps it. An output that is a single file gets
    none.
    """
    target = output / "NOTICE"
    if target.exists() or not output.is_dir():
        return
    notices = dict.fromkeys(notice.read_bytes() for path in inputs if (notice := path / "NOTICE").is_file())
    if notices:
        with publishing_file(target) as staging:
            staging.write_bytes(b"\n".join(notices))
