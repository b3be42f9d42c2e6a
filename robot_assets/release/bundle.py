"""``bundle.json``: every file of a release by name, size and sha256, and what a robot has to know of its engines.

A release is a directory: ``bundle.json``, and for each model a folder with the files of its engine, its signed statements
(``provenance.intoto.jsonl``) and ``reference.npz``, the answers that the engine has to repeat on a robot. It has no times,
so that equal engines give an equal release. Light to import: robots read it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from robot_assets.core.spec import Spec

BUNDLE_FILE = "bundle.json"
REFERENCE = "reference.npz"
FORMAT: Final = 1


class BundledFile(Spec):
    """One file of a release.

    Attributes:
        path: Inside the release, with ``/``; never absolute, never with ``..``.
        sha256: 64 hexadecimal digits; also its name among the blobs of the repository.
        size: Bytes.
    """

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class BundledModel(Spec):
    """One engine of a release.

    Attributes:
        asset: Of the engine, such as ``sidewalk_detector/engine/cpu``.
        version: Its data version.
        folder: Its folder in the release: the name of the model.
        decoder: Name of the decoder of its heads, and of its task.
        budgets: The budgets that its gates were judged by, by the names of ``targets.TARGET.gate``.
        tolerance_share: Share of reference values that may differ on a robot (``parity_differing_share_max``).
    """

    asset: str
    version: str
    folder: str
    task: str
    decoder: str
    budgets: dict[str, float]
    tolerance_share: float


class Bundle(Spec):
    """The content of ``bundle.json``.

    Attributes:
        group: The group of robots that it is for.
        target: The target whose devices can run it.
        platform: The device as its engines' manifests state it, and its fingerprint.
        models: The engines, by name of the model.
        files: All files but ``bundle.json`` itself, by path.
    """

    format: Literal[1] = FORMAT
    group: str
    target: str
    platform: dict[str, Any]
    platform_fingerprint: str
    models: dict[str, BundledModel]
    files: tuple[BundledFile, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
