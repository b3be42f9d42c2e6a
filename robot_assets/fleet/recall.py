"""What a release is made of, by the statements beside its engines, and whether a recall names any of it.

Works offline on the files of a release. Light to import: robots run it. A recall has to hold when its key is no longer
trusted, too: the signers of a statement count whether or not they are trusted now.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.fleet.errors import FleetError
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, BundledModel, parse_bundle

if TYPE_CHECKING:
    from robot_assets.fleet.assignments import Recall
    from robot_assets.provenance.public_key import Trust

KEY_PREFIX = "ed25519:"
DIGITS_MIN = 8
_ASSET = "urn:robot-assets:asset:"
_CODE = "urn:robot-assets:code:"


@dataclass(frozen=True)
class Part:
    """One thing that a release is made of.

    Attributes:
        what: Its name, such as ``raw/sidewalk``, ``code of sidewalk_detector/onnx`` or ``signing key``.
        digest: Its version or hash, without ``.dir``.
    """

    what: str
    digest: str


def recalled(release: Path, version: str, recalls: Iterable[Recall], trust: Trust | None = None) -> Recall | None:
    """The first of ``recalls`` that names the release or anything that it is made of; None where none does.

    Args:
        release: Folder of a release that was verified when it was installed.
        version: Its data version.
        recalls: What was recalled.
        trust: Whose statements count; None: all that are about exactly the files of the release, as it was verified.

    Raises:
        FleetError: Its statements cannot be read.
        ReleaseError: Its bundle.json is not valid.
    """
    recalls = tuple(recalls)
    if not recalls:
        return None
    parts = list(made_of(*_read(release), version, trust))
    return next((recall for recall in recalls if match(parts, recall.hash) is not None), None)


def match(parts: Iterable[Part], digest: str, digits_min: int = DIGITS_MIN) -> Part | None:
    """The part that ``digest`` names: its first digits, or the line of a signing key; fewer digits name nothing."""
    needle = key_id(digest) if digest.startswith(KEY_PREFIX) else bare(digest)
    if needle is None or len(needle) < digits_min:
        return None
    return next((part for part in parts if part.digest.startswith(needle)), None)


def bare(digest: str) -> str:
    """Digits of a version or hash, without the name of its algorithm and ``.dir``."""
    return digest.strip().lower().removeprefix("sha256:").removeprefix("md5:").removesuffix(".dir")


def key_id(line: str) -> str | None:
    """The id in signatures of the key in ``line``; None where it is no key."""
    from robot_assets.provenance.public_key import parse_public_key

    try:
        return parse_public_key(line).key_id
    except ProvenanceError:
        return None


def made_of(
    bundle: Bundle, statements: Mapping[str, bytes], version: str, trust: Trust | None = None
) -> Iterator[Part]:
    """All that a release is made of; several may be equal.

    Args:
        bundle: Its bundle.json.
        statements: Content of the file of signed statements of each model.
        version: Its data version.
        trust: As for :func:`recalled`.
    """
    yield Part("release", bare(version))
    for file in bundle.files:
        yield Part(file.path, file.sha256)
    for model in bundle.models.values():
        yield Part(model.asset, bare(model.version))
        for line in statements.get(model.folder, b"").splitlines():
            yield from _of_envelope(line, _files_of(bundle, model), trust)


def _files_of(bundle: Bundle, model: BundledModel) -> dict[str, str]:
    """sha256 of the files in the folder of a model, by their names in it."""
    prefix = f"{model.folder}/"
    return {file.path.removeprefix(prefix): file.sha256 for file in bundle.files if file.path.startswith(prefix)}


def _of_envelope(line: bytes, files: Mapping[str, str], trust: Trust | None) -> Iterator[Part]:
    """Parts that one envelope states; none where it is no statement about these files."""
    try:
        envelope = json.loads(line)
        signers = [str(one["keyid"]).lower() for one in envelope["signatures"]]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        subjects = {str(one["name"]): one["digest"] for one in statement["subject"]}
        if not subjects or any(files.get(name) != digest["sha256"] for name, digest in subjects.items()):
            return
        stated = list(_of_statement(statement, subjects)) if _is_signed(line, trust) else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        return
    yield from (Part("signing key", signer) for signer in signers)
    yield from stated


def _is_signed(line: bytes, trust: Trust | None) -> bool:
    if trust is None:
        return True
    from robot_assets.provenance.envelope import open_envelope

    try:
        open_envelope(line, trust)
    except ProvenanceError:
        return False
    return True


def _of_statement(statement: Mapping[str, Any], subjects: Mapping[str, Any]) -> Iterator[Part]:
    for name, digest in subjects.items():
        yield from (Part(name, bare(str(value))) for value in digest.values())
    build = statement["predicate"].get("buildDefinition")
    if build is None:  # the results of gates
        return
    asset = str(build["externalParameters"]["asset"])
    yield Part(asset, bare(str(build["internalParameters"]["dataVersion"])))
    yield Part(f"desired state of {asset}", str(build["internalParameters"]["desiredState"]))
    for dependency in build["resolvedDependencies"]:
        yield from _of_dependency(dependency)


def _of_dependency(dependency: Mapping[str, Any]) -> Iterator[Part]:
    name, uri = str(dependency["name"]), str(dependency.get("uri", ""))
    for value in dependency.get("digest", {}).values():
        yield Part(name, bare(str(value)))
    if uri.startswith(_CODE):
        yield Part(name, uri.removeprefix(_CODE).lower())
    elif uri.startswith(_ASSET):
        yield Part(name, bare(uri.rpartition("@")[2]))
    elif "@sha256:" in uri:
        yield Part(name, uri.rpartition("@sha256:")[2].lower())


def _read(release: Path) -> tuple[Bundle, dict[str, bytes]]:
    """The bundle.json of a release, and the statements of each model."""
    try:
        bundle = parse_bundle((release / BUNDLE_FILE).read_bytes())
        statements = {model.folder: (release / model.folder / BUNDLE).read_bytes() for model in bundle.models.values()}
    except OSError as error:
        raise FleetError(
            f"{error.filename} cannot be read: {error.strerror}",
            needed="a release with the signed statements of its engines",
            fix="robot-assets agent once   # downloads the release again",
        ) from None
    return bundle, statements
