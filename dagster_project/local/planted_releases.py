"""Altered copies of a release, for the demo of a rollout: signed and published as any other release.

They are not built, so no history and no store has them; the distribution repository has, with the real keys.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.documents import write_json
from robot_assets.fleet.desired import open_repository
from robot_assets.provenance.envelope import sign
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.release.bundle import BUNDLE_FILE, REFERENCE, Bundle, BundledFile, parse_bundle

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from robot_assets.pipeline.project import Project


def plant(project: Project, group: str, release: str, alter: Callable[[Path, Bundle], None]) -> str:
    """Publish an altered copy of a release; its data version.

    Args:
        project: The project, which has the key of the role ``releases``.
        group: Of robots.
        release: Data version of the release that is copied.
        alter: Changes files of the copy; ``bundle.json`` follows.

    Raises:
        RobotAssetsError: The release is not in the store, or the repository cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="robot-assets-") as folder:
        copy = Path(folder) / "release"
        project.store.get(release, copy)
        bundle = parse_bundle((copy / BUNDLE_FILE).read_bytes())
        alter(copy, bundle)
        files = [_as_it_is(copy, file) for file in bundle.files]
        document = bundle.model_copy(update={"files": tuple(files)}).model_dump(mode="json")
        write_json(copy / BUNDLE_FILE, document)
        version = project.store.digest_of(copy).digest
        open_repository(project.root, project.params.fleet).publish_release(group, version, copy)
    return version


def with_wrong_answers(release: Path, bundle: Bundle) -> None:
    """Replace every reference answer by a value that the engine does not give."""
    from robot_assets.engines.load import load_manifest
    from robot_assets.release.reference import Reference, read_reference, write_reference

    for model in bundle.models.values():
        path = release / model.folder / REFERENCE
        reference = read_reference(path, load_manifest(path.parent).interface)
        heads = tuple(head + (head.max() - head.min() + 1) for head in reference.heads)
        write_reference(
            path,
            Reference(
                reference.images,
                tuple(head.astype(old.dtype) for head, old in zip(heads, reference.heads, strict=True)),
            ),
        )


def signed_by(signer: CryptoSigner) -> Callable[[Path, Bundle], None]:
    """The same statements of the same engines with the signature of another key, as of another build machine."""

    def sign_again(release: Path, bundle: Bundle) -> None:
        for model in bundle.models.values():
            path = release / model.folder / BUNDLE
            payloads = (base64.b64decode(json.loads(line)["payload"]) for line in path.read_bytes().splitlines())
            path.write_bytes(b"".join(sorted(sign(payload, signer) for payload in payloads)))

    return sign_again


def _as_it_is(release: Path, file: BundledFile) -> BundledFile:
    content = (release / file.path).read_bytes()
    return BundledFile(path=file.path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
