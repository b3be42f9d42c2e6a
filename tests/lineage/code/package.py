"""A small package on disk whose code versions are asked for before and after an edit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from robot_assets.lineage.code import Code

ROOT = Path(__file__).parents[3]
STAGE = "pkg.stage:run"


class Package:
    """``pkg`` in a folder of its own, beside the real ``robot_assets``."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder = folder / "pkg"
        for name, text in {"__init__.py": "", **files}.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{old!r} is not once in {name}"
        self.write(name, text.replace(old, new))

    @property
    def code(self) -> Code:
        return Code({"pkg": self.folder, "robot_assets": ROOT / "robot_assets"})

    def version(self, *entries: str) -> str:
        return self.code.version(entries or STAGE, {})

    def reached(self, *entries: str) -> list[str]:
        """The definitions in the package that count."""
        return [name for name in self.code.definitions(entries or STAGE) if name.startswith("pkg")]
