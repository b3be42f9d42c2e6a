"""Reads and writes ``.dvc`` pointers, and reads ``dvc.lock``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import StoreError
from robot_assets.core.paths import shown_path
from robot_assets.store.artifact import Artifact, checked_digest

if TYPE_CHECKING:
    from robot_assets.core.yaml_documents import YamlFault

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
        StoreError: It is missing, has conflict markers, is not a pointer to one artifact beside it, or is one that has
            no hash of DVC 3, such as one of DVC 2 or of a cloud-versioned remote.
    """
    document = _load(pointer)
    _refuse_foreign(pointer, document)
    outs = document.get("outs")
    if not isinstance(outs, list) or not outs:
        raise _refused(pointer, "outs", "does not have exactly one entry")
    if len(outs) > 1:
        raise _foreign(
            pointer,
            f"outs has {len(outs)} entries: it points at several artifacts",
            "one pointer for each artifact",
            f"dvc remove {shown_path(pointer)} && dvc add {_paths(outs)}",
        )
    path, digest, out = _out(pointer, "outs[0]", outs[0])
    if "/" in path or document.get("wdir", ".") != ".":
        raise _refused(pointer, "outs[0].path", f"is {path!r}, not beside the pointer")
    return Pointer(pointer.parent / path, digest, _count(pointer, out, "size"), _count(pointer, out, "nfiles"))


def read_lock(lock: Path) -> dict[str, str]:
    """Return path -> digest of every output in a ``dvc.lock``; paths are relative to its folder, with ``/``.

    Raises:
        StoreError: It is missing, has conflict markers, or is not a lock file of DVC 3.
    """
    document = _load(lock)
    stages = document.get("stages", {})
    if "stages" not in document and any(isinstance(one, dict) and "cmd" in one for one in document.values()):
        raise _foreign(lock, "it was written by DVC 1", "a dvc.lock of DVC 3", "dvc commit --force")
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
    from robot_assets.core.yaml_documents import YamlFault, load_yaml

    try:
        payload = path.read_bytes()
    except FileNotFoundError:
        raise _refused(path, "the file", "does not exist") from None
    except OSError as error:
        raise _refused(path, "the file", f"cannot be read ({error.strerror})") from None
    if payload.startswith(b"version https://git-lfs"):
        raise _foreign(
            path, "it is a pointer of Git LFS", "the file itself", f"git lfs pull --include {shown_path(path)}"
        )
    try:
        document = load_yaml(payload)
    except YamlFault as fault:
        if fault.has_conflict:
            raise _conflict(path, fault) from None
        raise _refused(path, "the file", f"is not YAML ({fault.what})") from None
    if not isinstance(document, dict):
        raise _refused(path, "the file", "is empty" if document is None else "is not a mapping")
    return document


def _refuse_foreign(pointer: Path, document: dict[str, Any]) -> None:
    """Refuse other documents that have the name of a pointer."""
    if "stages" in document:
        raise _foreign(
            pointer, "it is a pipeline of DVC (it has stages)", "a pointer with outs", f"dvc add {_beside(pointer)}"
        )
    if "cmd" in document:
        raise _foreign(
            pointer, "it is a stage file of DVC 0 (it has cmd)", "a pointer with outs", f"dvc add {_beside(pointer)}"
        )


def _out(source: Path, place: str, out: Any) -> tuple[str, str, dict[str, Any]]:
    if not isinstance(out, dict):
        raise _refused(source, place, "is not a mapping")
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not path or "\0" in path:
        raise _refused(source, f"{place}.path", f"is {_shown(path)}")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise _refused(source, f"{place}.path", f"is {path!r}, outside the folder")
    _refuse_without_md5(source, place, out)
    try:
        return path, checked_digest(str(md5)), out
    except StoreError:
        raise _refused(source, f"{place}.md5", f"is {_shown(md5)}") from None


def _refuse_without_md5(source: Path, place: str, out: dict[str, Any]) -> None:
    """Refuse entries of other versions of DVC, and those of remotes that DVC does not hash; named for what they are."""
    file = shown_path(source)
    cloud = next((key for key in ("cloud", "files", "etag", "version_id", "checksum") if key in out), None)
    if cloud and "md5" not in out:
        raise _foreign(
            source,
            f"{place} has {cloud} and no md5: an import-url or a cloud-versioned remote, with data only in the cloud",
            "data with an md5 of DVC 3",
            f"dvc pull {file} && dvc remove {file} && dvc add {_beside(source)}",
        )
    if "md5" in out and "hash" not in out:
        raise _foreign(
            source,
            f"{place} has md5 and no hash: it was written by DVC 2",
            "a file of DVC 3",
            f"dvc cache migrate --dvc-files   # then: dvc push && git add {file}",
        )
    if out.get("hash") != "md5":
        raise _refused(source, f"{place}.hash", f"is {_shown(out.get('hash'))}; DVC 3 writes md5")
    if "md5" not in out:
        raise _foreign(
            source,
            f"{place} has no md5: the data was not downloaded when it was imported",
            "an import with its data",
            f"dvc update {file}",
        )


def _count(source: Path, out: dict[str, Any], key: str) -> int | None:
    value = out.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise _refused(source, f"outs[0].{key}", f"is {_shown(value)}")


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)


def _beside(pointer: Path) -> str:
    """The artifact beside a pointer, for a command line."""
    return shown_path(pointer.with_suffix(""))


def _paths(outs: list[Any]) -> str:
    return " ".join(shlex.quote(str(out.get("path"))) for out in outs if isinstance(out, dict))


def _conflict(path: Path, fault: YamlFault) -> StoreError:
    file = shown_path(path)
    both = " (for the data of both sides, import or add it again)" if path.suffix == SUFFIX else ""
    return StoreError(
        f"{path}: {fault.what.removeprefix('it ')}",
        needed="one version of the hash, without conflict markers",
        fix=f"git status   # then edit {file}: {fault.fix}{both}, and: git add {file}",
    )


def _foreign(path: Path, what: str, needed: str, fix: str) -> StoreError:
    return StoreError(f"{path}: {what}", needed=needed, fix=fix)


def _refused(source: Path, place: str, what: str) -> StoreError:
    file = shown_path(source)
    again = "dvc repro" if source.suffix != SUFFIX else f"dvc add {_beside(source)}"
    return StoreError(
        f"{source}: {place} {what}",
        needed="a file written by DVC 3",
        fix=f"git checkout -- {file}   # restores what git has; or write it again: {again}",
    )
