"""Artifacts as paths: written out for a person, or laid out once, read-only, for those who only read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.store.artifact import is_directory
from robot_assets.store.cache import READ_ONLY, Cache
from robot_assets.store.copying import hash_handle
from robot_assets.store.os_errors import explained
from robot_assets.store.parallel import in_groups
from robot_assets.store.pins import hold, letting_go
from robot_assets.store.reading import copy_out, ensure, read_tree, replace_damaged
from robot_assets.store.remote import Remote
from robot_assets.store.tree import Tree
from robot_assets.store.usage import COPIES_SUFFIX, LAYING_OUT, on_disk

_LINK_REFUSED = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}
"""Too many links to one object (empty label files do it), another file system, or one without hard links."""

Facts = dict[str, list[int]]
"""relpath -> size, mtime, inode of a laid out file; an edit in place shows in them."""


def open_artifact(cache: Cache, remote: Remote | None, digest: str) -> Path:
    """Return a read-only path with the bytes of ``digest``, the same path each time.

    The first time every object is read and verified, then linked to from the returned place; after that a
    look at the facts of the files is enough. What was changed there is laid out again. Where there is a remote, this
    process needs the artifact from here on (``holding.letting_go`` ends that): it makes no room for others.

    Raises:
        ObjectMissing: Neither cache nor remote has an object of it.
        ObjectCorrupt: An object is damaged and there is no good one.
        StoreError: The listing is unsafe, the remote unreachable, or the disk full.
    """
    folder = cache.root / "opened"
    final, facts = folder / digest, folder / f"{digest}.facts"
    with explained("laying out an artifact", folder):
        if remote is not None:
            hold(cache, digest)
        if _is_intact(final, facts):
            return final
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder / f"{digest}.lock"):
            if not _is_intact(final, facts):  # another process may have done it while we waited
                _lay_out(cache, remote, digest, final, facts)
    return final


def get(cache: Cache, remote: Remote | None, digest: str, destination: Path) -> None:
    """Write the artifact to ``destination``, replacing what is there in one step; the files may be edited.

    Raises:
        ObjectMissing: Neither cache nor remote has an object of it.
        ObjectCorrupt: An object is damaged and there is no good one.
        StoreError: The listing is unsafe, the remote unreachable, the disk full, or ``destination`` is a file
            where the artifact is a directory.
    """
    with explained("writing the artifact", destination), letting_go():
        if remote is not None:
            hold(cache, digest)
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

    in_groups(write, tree.entries, "writing")


def _lay_out(cache: Cache, remote: Remote | None, digest: str, final: Path, facts: Path) -> None:
    for leftover in final.parent.glob(f"{LAYING_OUT}{digest}-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(dir=final.parent, prefix=f"{LAYING_OUT}{digest}-"))
    try:
        made = staging / "artifact"
        if is_directory(digest):
            tree = read_tree(cache, remote, digest)
            ensure(cache, remote, tree.digests)
            made.mkdir()
            _make_folders(tree, str(made))
            link = partial(_link_entry, cache, remote, str(made))
            copied_bytes = sum(in_groups(link, tree.entries, "verifying"))
        else:
            ensure(cache, remote, [digest])
            copied_bytes = _link(cache, remote, digest, str(made))
        found = _facts(made)
        facts.unlink(missing_ok=True)
        _note_copies(final.with_name(f"{digest}{COPIES_SUFFIX}"), copied_bytes)
        if final.exists():
            os.rename(final, staging / "old")
        os.rename(made, final)
        with publishing_file(facts) as record:
            record.write_text(json.dumps(found))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _note_copies(note: Path, copied_bytes: int) -> None:
    """Leave word of what an artifact takes of the disk beside its objects; links take nothing."""
    if copied_bytes:
        note.write_text(str(copied_bytes))
    else:
        note.unlink(missing_ok=True)


def _link_entry(cache: Cache, remote: Remote | None, folder: str, entry: tuple[str, str]) -> int:
    return _link(cache, remote, entry[1], f"{folder}/{entry[0]}")


def _link(cache: Cache, remote: Remote | None, oid: str, path: str) -> int:
    """Link to an object, then read through the link: what was verified is what stands there.

    Returns:
        The bytes of disk that a copy takes, where no link is to be had.
    """
    for _ in range(2):
        try:
            os.link(cache.path(oid), path)
        except FileNotFoundError:  # it has made room for others
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
    """Whether what was laid out stands there as it was verified, by the facts of its files."""
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


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
