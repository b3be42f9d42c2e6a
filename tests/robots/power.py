"""What a loss of power may leave of a folder: what was not synced is lost, or half there, or zeros.

A model of a file system that promises what POSIX does and no more (as ALICE, Pillai et al., OSDI 2014): the bytes of a
file are durable after an fsync of the file, and a name after an fsync of its folder. A rename is atomic. Names of one
folder become durable in their order; those of different folders, and bytes and names, in any.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.robots.disk import Op


@dataclass(eq=False)
class File:
    data: bytearray
    synced: bytes

    @property
    def is_durable(self) -> bool:
        return bytes(self.data) == self.synced


@dataclass(eq=False)
class Link:
    target: str


@dataclass(eq=False)
class Folder:
    """Attributes: now: what a process sees. durable: what was synced. pending: changes since, in their order."""

    now: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def apply(self, count: int) -> None:
        """Make the first ``count`` pending changes durable."""
        done, self.pending = self.pending[:count], self.pending[count:]
        for change in done:
            change.apply()


Node = File | Link | Folder


@dataclass(eq=False)
class Change:
    """A name that is given to a node; ``node`` None: removed. ``taken_from``: where a rename takes it."""

    folder: Folder
    name: str
    node: Node | None
    taken_from: tuple[Folder, str] | None = None
    applied: bool = False

    def apply(self) -> None:
        if self.applied:
            return
        self.applied = True
        if self.node is None:
            self.folder.durable.pop(self.name, None)
            return
        self.folder.durable[self.name] = self.node
        if self.taken_from:
            source, name = self.taken_from
            for earlier in source.pending:
                if earlier is self:
                    break
                if earlier.name == name and not earlier.applied and earlier.folder is source:
                    earlier.applied = True
            if source.durable.get(name) is self.node:
                del source.durable[name]


class Disk:
    """A folder as the file system has it.

    Args:
        root: Read as durable.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._files: dict[int, File] = {}
        self.top = self._read(Path(self.root))

    def _read(self, path: Path) -> Folder:
        folder = Folder()
        for entry in sorted(path.iterdir()):
            if entry.is_symlink():
                node: Node = Link(os.readlink(entry))
            elif entry.is_dir():
                node = self._read(entry)
            else:
                content = entry.read_bytes()
                node = self._files[entry.stat().st_ino] = File(bytearray(content), content)
            folder.now[entry.name] = folder.durable[entry.name] = node
        return folder

    def replay(self, ops: Iterable[Op]) -> None:
        """Apply operations in their order."""
        for op in ops:
            getattr(self, f"_{op.kind}")(op)

    def _place(self, path: str) -> tuple[Folder, str]:
        parts = os.path.relpath(path, self.root).split("/")
        folder = self.top
        for part in parts[:-1]:
            below = folder.now[part]
            if not isinstance(below, Folder):
                raise TypeError(f"{path}: {part} is no folder")
            folder = below
        return folder, parts[-1]

    def _name(self, path: str, node: Node | None, taken_from: tuple[Folder, str] | None = None) -> None:
        folder, name = self._place(path)
        if node is None:
            folder.now.pop(name, None)
        else:
            folder.now[name] = node
        change = Change(folder, name, node, taken_from)
        folder.pending.append(change)
        if taken_from and taken_from[0] is not folder:
            taken_from[0].pending.append(change)

    def _create(self, op: Op) -> None:
        self._files[op.inode] = File(bytearray(), b"")
        self._name(op.path, self._files[op.inode])

    def _mkdir(self, op: Op) -> None:
        self._name(op.path, Folder())

    def _symlink(self, op: Op) -> None:
        self._name(op.path, Link(op.other))

    def _link(self, op: Op) -> None:
        folder, name = self._place(op.path)
        self._name(op.other, folder.now[name])

    def _unlink(self, op: Op) -> None:
        self._name(op.path, None)

    _rmdir = _unlink

    def _rename(self, op: Op) -> None:
        folder, name = self._place(op.path)
        node = folder.now.pop(name)
        self._name(op.other, node, (folder, name))

    def _exchange(self, op: Op) -> None:
        (one, name), (other, other_name) = self._place(op.path), self._place(op.other)
        first, second = one.now[name], other.now[other_name]
        self._name(op.path, second)
        self._name(op.other, first)

    def _write(self, op: Op) -> None:
        data = self._files[op.inode].data
        if len(data) < op.offset:
            data.extend(bytes(op.offset - len(data)))
        data[op.offset : op.offset + len(op.data)] = op.data

    def _truncate(self, op: Op) -> None:
        data = self._files[op.inode].data
        del data[op.offset :]
        data.extend(bytes(op.offset - len(data)))

    def _allocate(self, op: Op) -> None:
        if op.inode == 0:  # a reservation, which keeps the size
            return
        data = self._files[op.inode].data
        data.extend(bytes(max(0, op.offset - len(data))))

    def _fsync(self, op: Op) -> None:
        if op.path == self.root:
            node: Node = self.top
        elif op.inode in self._files:
            node = self._files[op.inode]
        else:
            folder, name = self._place(op.path)
            node = folder.now[name]
        if isinstance(node, Folder):
            node.apply(len(node.pending))
        elif isinstance(node, File):
            node.synced = bytes(node.data)

    def _sync(self, op: Op) -> None:
        for folder in list(_folders(self.top)):
            folder.apply(len(folder.pending))
        for file in self._files.values():
            file.synced = bytes(file.data)

    def write_seen(self, target: Path) -> None:
        """Write what a process sees: the state after a kill without a loss of power."""
        _write_folder(self.top, target, lambda folder: folder.now, lambda file: bytes(file.data))

    def write_lost(self, target: Path, loss: Loss) -> None:
        """Write what ``loss`` leaves; this disk is used up by it."""
        for folder in list(_folders(self.top)):
            folder.apply(loss.names_kept(len(folder.pending)))
        _write_folder(self.top, target, lambda folder: folder.durable, loss.content)


@dataclass(frozen=True)
class Loss:
    """What is lost of that which was not synced.

    Attributes:
        names_kept: Of so many pending changes of a folder, how many have become durable.
        torn: What is left of a file that was not synced.
    """

    names_kept: Callable[[int], int]
    torn: Callable[[File], bytes]

    def content(self, file: File) -> bytes:
        return file.synced if file.is_durable else self.torn(file)


def emptied(file: File) -> bytes:
    """The bytes that were synced; a file that never was is empty."""
    return file.synced


def halved(file: File) -> bytes:
    """The first half of the bytes."""
    return bytes(file.data[: len(file.data) // 2])


def zeroed(file: File) -> bytes:
    """The size is there and the bytes are not: zeros, as XFS and a preallocated file have them."""
    has_grown = file.data.startswith(file.synced)
    return (file.synced if has_grown else b"").ljust(len(file.data), b"\0")


def kept(file: File) -> bytes:
    """Written back by chance."""
    return bytes(file.data)


BYTES_LOST = Loss(lambda count: count, emptied)
BYTES_HALVED = Loss(lambda count: count, halved)
BYTES_ZEROED = Loss(lambda count: count, zeroed)
NAMES_LOST = Loss(lambda count: 0, kept)
ALL_LOST = Loss(lambda count: 0, emptied)


def any_loss(seed: int) -> Loss:
    """A random one: of each folder the first changes, of each file something."""
    source = random.Random(seed)
    return Loss(
        lambda count: source.randint(0, count), lambda file: source.choice([emptied, halved, zeroed, kept])(file)
    )


def _folders(folder: Folder, seen: set[int] | None = None) -> Iterable[Folder]:
    """All folders that have a name now or had one."""
    seen = set() if seen is None else seen
    if id(folder) in seen:
        return
    seen.add(id(folder))
    yield folder
    nodes = [*folder.now.values(), *folder.durable.values(), *(c.node for c in folder.pending if c.node)]
    for node in nodes:
        if isinstance(node, Folder):
            yield from _folders(node, seen)


def _write_folder(
    folder: Folder, target: Path, entries: Callable[[Folder], dict[str, Node]], content: Callable[[File], bytes]
) -> None:
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for name, node in entries(folder).items():
        path = target / name
        if isinstance(node, Link):
            path.symlink_to(node.target)
        elif isinstance(node, Folder):
            _write_folder(node, path, entries, content)
        else:
            path.write_bytes(content(node))
