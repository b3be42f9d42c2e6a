"""Artifacts as files: a writable copy at a destination, or a shared read-only checkout in the cache."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from functools import partial
from pathlib import Path

from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.store.artifact import is_directory
from robot_assets.store.cache import READ_ONLY, Cache
from robot_assets.store.copying import hash_handle
from robot_assets.store.locking import file_lock
from robot_assets.store.os_errors import explaining_os_errors
from robot_assets.store.parallel import map_in_groups
from robot_assets.store.pins import pin, released
from robot_assets.store.reading import copy_out, ensure, read_tree, replace_damaged
from robot_assets.store.remote import Remote
from robot_assets.store.tree import Tree
from robot_assets.store.usage import CHECKOUTS, COPIES_SUFFIX, STAGING_PREFIX, on_disk

_LINK_REFUSED = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}
"""Too many links to one object (such as empty label files), another file system, or one without hard links."""

Facts = dict[str, list[int]]
"""relpath -> size, mtime and inode of a file of a checkout; an edit in place changes them."""


def open_artifact(cache: Cache, remote: Remote | None, digest: str) -> Path:
    """Return a read-only path with the bytes of ``digest``, the same path each time.

    The first call reads and verifies every object and links it into a checkout; later calls compare the facts of its
    files only. A changed checkout is replaced. With a remote, the artifact is pinned against eviction until the
    enclosing ``pins.released`` block or the process ends.

    Raises:
        ObjectMissing: Neither cache nor remote has one of its objects.
        ObjectCorrupt: An object is damaged and no intact copy exists.
        StoreError: The listing is unsafe, the remote unreachable, or the disk full.
    """
    folder = cache.root / CHECKOUTS
    final, facts = folder / digest, folder / f"{digest}.facts"
    with explaining_os_errors("checking out an artifact", folder):
        if remote is not None:
            pin(cache, digest)
        if _is_intact(final, facts):
            return final
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / f"{digest}.lock"):
            if not _is_intact(final, facts):  # another process may have made it while we waited
                _check_out(cache, remote, digest, final, facts)
    return final


def get(cache: Cache, remote: Remote | None, digest: str, destination: Path) -> None:
    """Write the artifact to ``destination``, replacing it atomically; the files are writable copies.

    Raises:
        ObjectMissing: Neither cache nor remote has one of its objects.
        ObjectCorrupt: An object is damaged and no intact copy exists.
        StoreError: The listing is unsafe, the remote unreachable, the disk full, or ``destination`` is a file
            where the artifact is a directory.
    """
    with explaining_os_errors("writing the artifact", destination), released():
        if remote is not None:
            pin(cache, digest)
        if not is_directory(digest):
            ensure(cache, remote, [digest])
            with publishing_file(destination) as staging:
                copy_out(cache, remote, digest, str(staging))
            return
        if destination.exists() and not destination.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in the way of a directory", str(destination))
        tree = read_tree(cache, remote, digest)
        ensure(cache, remote, tree.digests)
        with publishing_directory(destination) as folder:
            _write_tree(cache, remote, tree, str(folder))


def _write_tree(cache: Cache, remote: Remote | None, tree: Tree, folder: str) -> None:
    _make_folders(tree, folder)

    def write(entry: tuple[str, str]) -> None:
        path = f"{folder}/{entry[0]}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        copy_out(cache, remote, entry[1], path)

    map_in_groups(write, tree.entries, "writing")


def _check_out(cache: Cache, remote: Remote | None, digest: str, final: Path, facts: Path) -> None:
    for leftover in final.parent.glob(f"{STAGING_PREFIX}{digest}-*"):  # of a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(dir=final.parent, prefix=f"{STAGING_PREFIX}{digest}-"))
    try:
        made = staging / "artifact"
        if is_directory(digest):
            tree = read_tree(cache, remote, digest)
            ensure(cache, remote, tree.digests)
            made.mkdir()
            _make_folders(tree, str(made))
            link = partial(_link_entry, cache, remote, str(made))
            copied_bytes = sum(map_in_groups(link, tree.entries, "verifying"))
        else:
            ensure(cache, remote, [digest])
            copied_bytes = _link(cache, remote, digest, str(made))
        found = _facts(made)
        facts.unlink(missing_ok=True)
        _record_copies(final.with_name(f"{digest}{COPIES_SUFFIX}"), copied_bytes)
        if final.exists():
            os.rename(final, staging / "old")
        os.rename(made, final)
        with publishing_file(facts) as record:
            record.write_text(json.dumps(found))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _record_copies(record: Path, copied_bytes: int) -> None:
    """Record the disk usage of a checkout beside its objects; links take none."""
    if copied_bytes:
        record.write_text(str(copied_bytes))
    else:
        record.unlink(missing_ok=True)


def _link_entry(cache: Cache, remote: Remote | None, folder: str, entry: tuple[str, str]) -> int:
    return _link(cache, remote, entry[1], f"{folder}/{entry[0]}")


def _link(cache: Cache, remote: Remote | None, oid: str, path: str) -> int:
    """Link to an object, then verify through the link: the verified bytes are those at ``path``.

    Returns:
        The disk usage in bytes of a copy, where links are refused; 0 for a link.
    """
    for _ in range(2):
        try:
            os.link(cache.path(oid), path)
        except FileNotFoundError:  # it was evicted
            ensure(cache, remote, [oid])
            continue
        except OSError as error:
            if error.errno not in _LINK_REFUSED:
                raise
            return _copy_read_only(cache, remote, oid, path)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if hash_handle(handle) == oid:
                return 0
            inode = os.fstat(handle).st_ino
        finally:
            os.close(handle)
        os.unlink(path)
        replace_damaged(cache, remote, oid, inode)
    return _copy_read_only(cache, remote, oid, path)


def _copy_read_only(cache: Cache, remote: Remote | None, oid: str, path: str) -> int:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    copy_out(cache, remote, oid, path)
    os.chmod(path, READ_ONLY)
    return on_disk(os.path.getsize(path))


def _make_folders(tree: Tree, folder: str) -> None:
    for parent in sorted({relpath.rpartition("/")[0] for relpath, _ in tree.entries}):
        os.makedirs(f"{folder}/{parent}", exist_ok=True)


def _is_intact(final: Path, facts: Path) -> bool:
    """Whether the checkout is as it was verified, judged by the facts of its files."""
    try:
        recorded = json.loads(facts.read_bytes())
        return bool(recorded == _facts(final))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def _facts(root: Path) -> Facts:
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode):
        return {"": [found.st_size, found.st_mtime_ns, found.st_ino]}
    facts: Facts = {}
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    found = entry.stat(follow_symlinks=False)
                    facts[prefix + entry.name] = [found.st_size, found.st_mtime_ns, found.st_ino]
    return facts
