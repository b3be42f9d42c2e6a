"""The protocol of a label format: what a task keeps of each image, from raw data to a packed split.

Raw data of every task is one layout: ``annotations.json``, a COCO document with ``images``, ``categories`` and
``annotations``, and ``images/SESSION/FILE``. A task whose labels are files of their own keeps one for each image in a
folder beside (``masks/SESSION/STEM.png``). Such raw data names its task in the document, ``info: {task: ...}``;
without it the task is detection. A format reads the labels of one image, and defines how they are packed.

Labels are a value of the format's own type, small enough to be kept for all images: a format that reads large files
gets them again to pack and to draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from robot_assets.core.label_issues import BadItem

DEFAULT_TASK = "detection"
"""Of data sets that name no task."""
_TAKEN = frozenset(("images", "sessions", "classes", "task"))


@dataclass(frozen=True)
class RawImage:
    """One image of a raw data set, as its labels are read.

    Attributes:
        file_name: Path below ``images/``.
        width: In pixels, of the decoded image.
        height: In pixels.
        annotations: Its entries of ``annotations`` in the COCO document, each with its place for errors. Their ids
            have been checked, and nothing else.
        categories: Class index by category id.
        classes: Names of the categories of the raw data, in the order of their ids: that of the class indices.
        side_name: Path of its file in the folder of :attr:`LabelFormat.folder`; empty for a format without one.
        side: The bytes of that file; None: there is no such file.
    """

    file_name: str
    width: int
    height: int
    annotations: Sequence[tuple[str, Mapping[str, Any]]]
    categories: Mapping[int, int]
    classes: tuple[str, ...]
    side_name: str = ""
    side: bytes | None = None

    def category(self, place: str, annotation: Mapping[str, Any]) -> int:
        """The class index of an annotation.

        Raises:
            BadItem: Its ``category_id`` is not the id of a category.
        """
        number = annotation.get("category_id")
        if not isinstance(number, int) or isinstance(number, bool) or number not in self.categories:
            raise BadItem(f"{place}.category_id", f"unknown class id {number!r}", f"use one of {[*self.categories]}")
        return self.categories[number]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a data set counts of its labels.

    Attributes:
        noun: For one of them, such as ``box``.
        plural: Such as ``boxes``; also the key of the counts in dataset.json.
        amount: What charts compare between classes (:meth:`LabelFormat.amounts`), such as ``boxes`` or ``pixels``.
        removal: How a person removes those of one class from the source.
        is_of_one_class: Whether each has one class, so that the counts of all classes can be added up.
    """

    noun: str
    plural: str
    amount: str
    removal: str
    is_of_one_class: bool = True

    def __post_init__(self) -> None:
        taken = sorted({self.plural, self.amount} & _TAKEN)
        if taken:
            raise ValueError(f"{taken[0]!r} is a key of dataset.json; needed another noun for labels")

    @property
    def total(self) -> str:
        """Title of the number of all labels in a table; empty where counts cannot be added up."""
        return self.plural if self.is_of_one_class else ""


@dataclass(frozen=True)
class Inspected:
    """What a gate found in the labels of a packed split.

    Attributes:
        count: Number of labels.
        faults: One line for each that is invalid, with its file below the split, or its image.
    """

    count: int
    faults: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class LabelGate:
    """The gate on the labels of a packed data set.

    Attributes:
        name: Such as ``boxes_sane``.
        description: One sentence.
        inspect: Entry point of its function, ``(split, classes) -> Inspected`` with the packed split and the number
            of classes. It reads the packed bytes and trusts nothing that the build has recorded.
        valid: What holds for labels that pass, such as ``finite, inside the image``.
    """

    name: str
    description: str
    inspect: str
    valid: str


class LabelFormat(Protocol):
    """How the labels of a task are read, counted, packed and checked.

    Attributes:
        counted: What is counted.
        folder: Folder of files beside ``images/`` with one file an image, such as ``masks``; empty for none.
        suffix: Suffix of these files, such as ``.png``.
        gate: The gate on packed labels.
    """

    counted: Counted
    folder: str
    suffix: str
    gate: LabelGate

    def read(self, image: RawImage) -> Any:
        """The labels of an image, checked.

        Raises:
            BadItem: ``robot_assets.core.label_issues``: they cannot be used; with place, what was found, and the fix.
        """
        ...

    def counts(self, labels: Any) -> Counter[int]:
        """How many of each class index."""
        ...

    def scored_counts(self, labels: Any) -> Counter[int]:
        """Of these, the ones that the metric counts: for boxes, without crowd regions."""
        ...

    def amounts(self, labels: Any) -> Counter[int]:
        """The amount of each class index, in :attr:`Counted.amount`."""
        ...

    def renumbered(self, labels: Any, numbers: Mapping[int, int]) -> Any:
        """The labels with class indices replaced by ``numbers``; what is of no class in it is left out."""
        ...

    def annotations(self, labels: Any) -> Sequence[Mapping[str, Any]]:
        """Their entries of ``annotations`` in the COCO document of a packed split, without ``id`` and ``image_id``.

        ``category_id`` is the class index + 1.
        """
        ...

    def payload(self, labels: Any, side: bytes | None) -> bytes:
        """What a packed split keeps beside that document; empty for none.

        Args:
            labels: The labels.
            side: The file that they were read from, as :attr:`RawImage.side`.
        """
        ...

    def shown(self, labels: Any, side: bytes | None) -> Any:
        """The labels as drawing takes them; arguments as for :meth:`payload`."""
        ...

    def unpacked(self, split: Any, index: int) -> Any:
        """The labels of image ``index`` of a packed split, as drawing takes them."""
        ...

    def unpacked_counts(self, split: Any, index: int) -> Counter[int]:
        """:meth:`scored_counts` of image ``index`` of a packed split."""
        ...


class AnnotationFormat:
    """A base of formats whose labels are entries of ``annotations`` alone, all of which the metric counts.

    What is left to define: ``counted``, ``gate``, ``read``, ``counts``, ``renumbered``, ``annotations``, ``unpacked``.
    """

    folder = ""
    suffix = ""

    def counts(self, labels: Any) -> Counter[int]:
        """How many of each class index."""
        raise NotImplementedError

    def scored_counts(self, labels: Any) -> Counter[int]:
        """All."""
        return self.counts(labels)

    def amounts(self, labels: Any) -> Counter[int]:
        """Their number."""
        return self.counts(labels)

    def payload(self, labels: Any, side: bytes | None) -> bytes:
        """Empty: all labels are in the COCO document."""
        return b""

    def shown(self, labels: Any, side: bytes | None) -> Any:
        """The labels."""
        return labels

    def unpacked(self, split: Any, index: int) -> Any:
        """The labels of image ``index`` of a packed split."""
        raise NotImplementedError

    def unpacked_counts(self, split: Any, index: int) -> Counter[int]:
        """How many of each class index image ``index`` has, of those that the metric counts."""
        return self.scored_counts(self.unpacked(split, index))
