"""Files of releases in a repository: by content, uploaded once."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from robot_assets.core import progress
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import CHUNK_BYTES, Files
from robot_assets.fleet.layout import blob
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, BundledFile

_THREADS = 8


def read_bundle(release: Path, group: str) -> tuple[bytes, Bundle]:
    """``bundle.json`` of the release in a folder, as bytes and parsed.

    Raises:
        FleetError: It is missing, damaged, or of another group.
    """
    path = release / BUNDLE_FILE
    fix = f"robot-assets fleet publish {group}   # the present release of {group}"
    try:
        content = path.read_bytes()
        bundle = Bundle.model_validate_json(content)
    except OSError as error:
        raise FleetError(f"{path} cannot be read: {error.strerror}", needed="a folder of a release", fix=fix) from None
    except ValidationError as error:
        found = f"{path} is not the bundle of a release: {error.errors()[0]['msg']}"
        raise FleetError(found, needed="bundle.json as the step release wrote it", fix=fix) from None
    if bundle.group != group:
        raise FleetError(f"{path} is of the group {bundle.group}", needed=f"a release of {group}", fix=fix)
    return content, bundle


def upload_blobs(files: Files, release: Path, bundle: Bundle, repair: bool = False) -> int:
    """Upload the files that the repository lacks or has truncated; return how many.

    Args:
        files: The repository.
        release: Folder of the release.
        bundle: Its ``bundle.json``.
        repair: Whether files of the right size are read, too, and replaced where their bytes are others.

    Raises:
        FleetError: A file is missing, a link, or not what ``bundle.json`` states, or the repository cannot be written.
    """
    needed = list({file.sha256: file for file in bundle.files}.values())

    def upload(file: BundledFile) -> bool:
        if files.size(blob(file.sha256)) == file.size and not (repair and _is_damaged(files, file)):
            return False
        files.upload(_checked(release, file), blob(file.sha256))
        return True

    uploaded = 0
    with _pool() as pool:
        for done, was_missing in enumerate(pool.map(upload, needed), start=1):
            uploaded += was_missing
            progress.report("publishing", done, len(needed))
    return uploaded


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads; the first failure cancels what is not started."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_damaged(files: Files, file: BundledFile) -> bool:
    found = sha256()
    for chunk in files.read_from(blob(file.sha256), 0):
        found.update(chunk)
    return found.hexdigest() != file.sha256


def _checked(release: Path, file: BundledFile) -> Path:
    """A file of a release, which is a regular file and has the hash that ``bundle.json`` states."""
    path = release / file.path
    try:
        is_file = stat.S_ISREG(os.lstat(path).st_mode) and path.resolve().is_relative_to(release.resolve())
        digest = digest_of(path) if is_file else ""
    except OSError as error:
        raise _unfit(path, f"cannot be read: {error.strerror}") from None
    if not is_file:
        raise _unfit(path, "is no regular file inside the release")
    if digest != file.sha256:
        raise _unfit(path, f"has sha256 {digest[:8]}, and bundle.json states {file.sha256[:8]}")
    return path


def digest_of(path: Path) -> str:
    """sha256 of a file."""
    found = sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def _unfit(path: Path, what: str) -> FleetError:
    return FleetError(
        f"{path} {what}",
        needed="the files that bundle.json names, unchanged",
        fix=f"ls -l {shlex.quote(str(path))}   # then build the release again",
    )
