"""The protocol of a label format: what a task keeps of each image, from raw data to a packed split.

Raw data of every task is one layout: ``annotations.json``, a COCO document with ``images``, ``categories`` and
``annotations``, and ``images/SESSION/FILE``. A task whose labels are images of their own keeps them in a folder beside
(``masks/SESSION/STEM.png``). A format reads the labels of one image, and says how they are packed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RawImage:
    """One image of a raw data set, as its labels are read.

    Attributes:
        file_name: Path below ``images/``.
        width: In pixels, of the decoded image.
        height: In pixels.
        annotations: Its entries of ``annotations`` in the COCO document, each with its place for errors.
        categories: Class index by category id.
        classes: Names of the categories of the raw data, in the order of their index.
        side_file: Its file in the folder of :attr:`LabelFormat.folder`; None: there is none.
    """

    file_name: str
    width: int
    height: int
    annotations: Sequence[tuple[str, Mapping[str, Any]]]
    categories: Mapping[int, int]
    classes: tuple[str, ...]
    side_file: Path | None


@dataclass(frozen=True)
class Packed:
    """The labels of one image in a packed split.

    Attributes:
        annotations: Entries of ``annotations`` of the COCO document, without ``id`` and ``image_id``.
        payload: Bytes beside the document; empty for none.
    """

    annotations: tuple[Mapping[str, Any], ...] = ()
    payload: bytes = b""


@dataclass(frozen=True)
class Counted:
    """What a data set counts of its labels.

    Attributes:
        noun: For one of them, such as ``box``.
        plural: Such as ``boxes``.
        unit: What the counts are of, for charts, such as ``boxes`` or ``images``.
    """

    noun: str
    plural: str
    unit: str = field(default="")


class LabelFormat(Protocol):
    """How the labels of a task are read, counted, packed and checked.

    Attributes:
        counted: What is counted.
        folder: Folder of files beside ``images/`` with one file an image, such as ``masks``; empty for none.
        suffix: Suffix of these files, such as ``.png``.
        gate: Name and description of the gate on packed labels, such as ``boxes_sane``.
    """

    counted: Counted
    folder: str
    suffix: str
    gate: tuple[str, str]

    def read(self, image: RawImage) -> Any:
        """The labels of an image, checked.

        Raises:
            BadItem: ``robot_assets.core.bad_item``: they cannot be used; with place, what was found, and the fix.
        """
        ...

    def counts(self, labels: Any) -> Counter[int]:
        """How many of each class index."""
        ...

    def renumbered(self, labels: Any, numbers: Mapping[int, int]) -> Any:
        """The labels with class indices replaced by ``numbers``; what is of no class in it is left out."""
        ...

    def packed(self, labels: Any) -> Packed:
        """What a packed split keeps of them."""
        ...

    def unpacked(self, split: Any, index: int) -> Any:
        """The labels of image ``index`` of a packed split, as drawing takes them."""
        ...

    def faults(self, split: Any) -> list[str]:
        """What is wrong with the labels of a packed split, read from its bytes alone; one line each."""
        ...
