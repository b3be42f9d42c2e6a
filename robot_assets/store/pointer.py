"""Reads and writes ``.dvc`` pointers, and reads ``dvc.lock``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from robot_assets.core.errors import StoreError
from robot_assets.store.artifact import Artifact, checked_digest

SUFFIX = ".dvc"


@dataclass(frozen=True)
class Pointer:
    """The content of a ``.dvc`` file.

    Attributes:
        path: Path of the artifact, beside the pointer.
        digest: Digest of the artifact.
        size_bytes: Sum of the file sizes; None when the pointer has none.
        files: Number of files; None when the pointer has none.
    """

    path: Path
    digest: str
    size_bytes: int | None
    files: int | None


def write_pointer(pointer: Path, artifact: Artifact) -> None:
    """Write ``NAME.dvc`` for the artifact at ``NAME`` beside it, byte for byte as ``dvc add NAME`` does.

    Raises:
        StoreError: ``pointer`` does not end in ``.dvc``.
    """
    if pointer.suffix != SUFFIX:
        raise StoreError(
            f"{pointer} is not a valid name for a pointer",
            needed="the artifact's name followed by .dvc",
            fix=f"write to {pointer}{SUFFIX}",
        )
    out: dict[str, Any] = {"md5": artifact.digest, "size": artifact.size_bytes}
    if artifact.is_directory:
        out["nfiles"] = artifact.files
    elif artifact.is_executable:
        out["isexec"] = True
    out |= {"hash": "md5", "path": pointer.name.removesuffix(SUFFIX)}
    import yaml

    from robot_assets.core.publishing import publishing_file

    with publishing_file(pointer) as staging:
        staging.write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False, allow_unicode=True), "utf-8")


def read_pointer(pointer: Path) -> Pointer:
    """Read a ``.dvc`` file.

    Raises:
        StoreError: It is missing, is not a pointer to one artifact beside it, or was written by DVC 2 (other hashes).
    """
    document = _load(pointer)
    outs = document.get("outs")
    if not isinstance(outs, list) or len(outs) != 1:
        raise _refused(pointer, "outs", "does not have exactly one entry")
    path, digest, out = _out(pointer, "outs[0]", outs[0])
    if "/" in path or document.get("wdir", ".") != ".":
        raise _refused(pointer, "outs[0].path", f"is {path!r}, not beside the pointer")
    return Pointer(pointer.parent / path, digest, _count(pointer, out, "size"), _count(pointer, out, "nfiles"))


def read_lock(lock: Path) -> dict[str, str]:
    """Return path -> digest of every output in a ``dvc.lock``; paths are relative to its folder, with ``/``.

    Raises:
        StoreError: It is missing or not a lock file.
    """
    stages = _load(lock).get("stages", {})
    if not isinstance(stages, dict):
        raise _refused(lock, "stages", "is not a mapping of stages")
    digests: dict[str, str] = {}
    for name, stage in stages.items():
        outs = stage.get("outs", []) if isinstance(stage, dict) else None
        if not isinstance(outs, list):
            raise _refused(lock, f"stages.{name}.outs", "is not a list")
        for index, entry in enumerate(outs):
            path, digest, _ = _out(lock, f"stages.{name}.outs[{index}]", entry)
            digests[path] = digest
    return digests


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise _refused(path, "the file", "does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refused(path, "the file", f"is not YAML ({error})") from None
    except OSError as error:
        raise _refused(path, "the file", f"cannot be read ({error.strerror})") from None
    if not isinstance(document, dict):
        raise _refused(path, "the file", "is not a mapping")
    return document


def _out(source: Path, place: str, out: Any) -> tuple[str, str, dict[str, Any]]:
    if not isinstance(out, dict):
        raise _refused(source, place, "is not a mapping")
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not path or "\0" in path:
        raise _refused(source, f"{place}.path", f"is {path!r}")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise _refused(source, f"{place}.path", f"is {path!r}, outside the folder")
    if out.get("hash") != "md5":
        raise _refused(source, f"{place}.hash", f"is {out.get('hash')!r}; DVC 3 writes md5")
    try:
        return path, checked_digest(str(md5)), out
    except StoreError:
        raise _refused(source, f"{place}.md5", f"is {md5!r}") from None


def _count(source: Path, out: dict[str, Any], key: str) -> int | None:
    value = out.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise _refused(source, f"outs[0].{key}", f"is {value!r}")


def _refused(source: Path, place: str, what: str) -> StoreError:
    return StoreError(
        f"{source}: {place} {what}",
        needed="a file written by DVC 3",
        fix=f"restore it from git (git checkout {source.name}), or write it again with dvc add or dvc repro",
    )
