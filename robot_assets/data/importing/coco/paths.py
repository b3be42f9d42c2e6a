"""Finds the image that a ``file_name`` of a COCO document means, in the spellings that annotation tools write."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import unquote

from robot_assets.core.label_issues import printable
from robot_assets.core.text import plural
from robot_assets.data.tree import Tree

Fault = tuple[str, str]
"""What was found, and how to fix it."""

NO_IMAGE: Fault = ("no such image", "restore the image, correct its file_name, or remove its entry")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[\\/]|\\\\", re.IGNORECASE)
_BELOW = "write the path below the folder of the images"
_IS_URL: Fault = ("file_name is a URL", "download the images into the source, and write their paths")
_ABSOLUTE_WINDOWS: Fault = ("file_name is an absolute Windows path", f"{_BELOW}, with /")
_ABSOLUTE: Fault = ("file_name is an absolute path", _BELOW)
_OUTSIDE: Fault = ("file_name leads outside the source (..)", _BELOW)
_WINDOWS: Fault = (
    "file_name is a Windows path, and no such image is there with / either",
    "restore the image, or write /",
)
ABSENT = frozenset((NO_IMAGE, _IS_URL, _ABSOLUTE_WINDOWS, _ABSOLUTE, _OUTSIDE, _WINDOWS))
"""Faults of a name for which there is no file."""
_SPELLINGS = {
    "absolute": "an absolute path",
    "windows": "a Windows path",
    "percent": "percent-encoded, as in a URL",
    "case": "in other upper and lower case than the name of the file",
    "unicode": "in another Unicode form (NFC, NFD) than the name of the file",
}


@dataclass(frozen=True)
class Located:
    """The file that a ``file_name`` means, by its name in the tree; None with the fault when there is none."""

    name: str | None
    fault: Fault | None = None
    hint: str = ""


@dataclass
class ImagePaths:
    """Looks up images of a tree.

    Attributes:
        tree: The files of the source.
        spellings: Number of images that were found in another spelling, by spelling.
    """

    tree: Tree
    spellings: Counter[str] = field(default_factory=Counter)

    def locate(self, file_name: str, roots: Sequence[str], folder: str) -> Located:
        """Find the file of an image.

        Args:
            file_name: As the document has it.
            roots: Folders below which it may be, in order of preference.
            folder: Folder of the document: tools write paths with ".." relative to it.
        """
        for root in roots:
            name = f"{root}/{file_name}" if root else file_name
            if name in self.tree.files:
                return Located(name)
        if not file_name or "\0" in file_name:
            return Located(None, ("file_name is empty" if not file_name else "file_name has a NUL character", _BELOW))
        for spelling, path in self._other_spellings(file_name):
            found = self._resolved(path, (folder, *roots) if ".." in path else roots)
            if found:
                self.spellings[spelling] += spelling in _SPELLINGS
                return Located(found)
        names = (posixpath.join(root, file_name) for root in roots)
        return Located(None) if any(map(self._is_reported, names)) else self._missing(file_name)

    def notes(self, document: str) -> Iterator[str]:
        """What was read in another spelling, for people."""
        for spelling, text in _SPELLINGS.items():
            if self.spellings[spelling]:
                yield f"{document}: file_name of {plural(self.spellings[spelling], 'image')} is {text}"

    def _other_spellings(self, file_name: str) -> Iterator[tuple[str, str]]:
        yield "", file_name
        inside = f"{self.tree.root.resolve()}/"
        if file_name.startswith(inside):
            yield "absolute", file_name.removeprefix(inside)
        slashed = file_name.replace("\\", "/")
        yield "windows", slashed
        yield "percent", unquote(slashed)

    def _resolved(self, path: str, roots: Sequence[str]) -> str | None:
        """The file at a path below one of the roots, with "." and ".." resolved, in any Unicode form and case."""
        if path.startswith("/"):
            return None
        candidates = [posixpath.normpath(posixpath.join(root, path)) for root in roots]
        for name in candidates:
            if name in self.tree.files:
                return name
        for spelling, form, names in (("unicode", _composed, self._by_form), ("case", _folded, self._by_case)):
            for name in candidates:
                same = names.get(form(name), [])
                if len(same) == 1:
                    self.spellings[spelling] += 1
                    return same[0]
        return None

    def _is_reported(self, name: str) -> bool:
        """Whether the walk over the tree has reported a file or a folder above it."""
        return any(printable(part) in self._reported for part in (name, *map(str, PurePosixPath(name).parents)))

    @cached_property
    def _reported(self) -> frozenset[str]:
        return frozenset(issue.place for issue in self.tree.issues)

    @cached_property
    def _by_form(self) -> dict[str, list[str]]:
        """Names of the tree by their normalized Unicode form."""
        return _grouped(self.tree.files, _composed)

    @cached_property
    def _by_case(self) -> dict[str, list[str]]:
        """Names of the tree by their normalized Unicode form, without case."""
        return _grouped(self.tree.files, _folded)

    @cached_property
    def _by_base(self) -> dict[str, list[str]]:
        """Names of the tree by their last part, in lower case."""
        return _grouped(self.tree.files, lambda name: posixpath.basename(name).lower())

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """Names of images by their last part without suffix, in lower case."""
        return _grouped(self.tree.images(), lambda name: _stem(posixpath.basename(name).lower()))

    def _missing(self, file_name: str) -> Located:
        """The fault of a name for which there is no file, and where a file of that name is."""
        path = file_name.replace("\\", "/")
        base = posixpath.basename(path).lower()
        elsewhere = self._by_base.get(base) or self._by_stem.get(base) or self._by_stem.get(_stem(base), [])
        tails = sorted((_common_tail(name, path), name) for name in elsewhere)
        is_clear = len(tails) == 1 or (len(tails) > 1 and tails[-1][0] > tails[-2][0])
        hint = f"there is {printable(tails[-1][1])}" if is_clear else ""
        return Located(None, _fault_of(file_name, path), hint)


def _stem(base: str) -> str:
    return posixpath.splitext(base)[0]


def _common_tail(one: str, other: str) -> int:
    """Number of equal parts at the ends of two paths; suffixes do not count."""
    pairs = zip(reversed(_stem(one).split("/")), reversed(_stem(other).split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _grouped(names: Iterable[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[form(name)].append(name)
    return groups


def _fault_of(file_name: str, path: str) -> Fault:
    if _URL.match(file_name):
        return _IS_URL
    if _DRIVE.match(file_name):
        return _ABSOLUTE_WINDOWS
    if path.startswith("/"):
        return _ABSOLUTE
    if posixpath.normpath(path).startswith("../") or path == "..":
        return _OUTSIDE
    return _WINDOWS if "\\" in file_name else NO_IMAGE
