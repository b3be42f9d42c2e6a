"""Label formats by task; and the writer of COCO labels.

Equal bytes for equal content, ids from 1 in order of addition, sorted keys, no NaN.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.tasks.detection.boxes import Box
from robot_assets.tasks.labels import DEFAULT_TASK
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.task import loaded

if TYPE_CHECKING:
    from robot_assets.tasks.labels import LabelFormat

PAYLOAD = "payload.bin"
"""What label formats keep beside the COCO document of a packed split; absent where none does."""
PAYLOAD_OFFSETS = "payload_offsets.npy"
"""Where the payload of each image begins, and where the last one ends: int64 (n + 1,)."""
_text = json.JSONEncoder(ensure_ascii=False).encode
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def label_format(task: str) -> LabelFormat:
    """The label format of a task.

    Raises:
        ParamsError: There is no such task.
    """
    found: LabelFormat = loaded(task_of(task).labels)
    return found


def sum_of(counts: Iterable[Counter[int]]) -> Counter[int]:
    """The sum of counts by class index."""
    total: Counter[int] = Counter()
    for one in counts:
        total.update(one)
    return total


class LabelWriter:
    """Collects images with their labels and writes them as a COCO document.

    Keeps each object as its JSON: ``add`` formats boxes in half the time of ``add_annotations``, for imports.
    """

    def __init__(self, categories: Sequence[str], task: str = DEFAULT_TASK) -> None:
        self._task = task
        self._categories = tuple(categories)
        self._images: list[str] = []
        self._annotations: list[str] = []
        self.clipped = 0
        self.sessions: set[str] = set()

    @property
    def images(self) -> int:
        """Number of images added."""
        return len(self._images)

    @property
    def annotations(self) -> int:
        """Number of annotations added."""
        return len(self._annotations)

    def add(self, file_name: str, session: str, width: int, height: int, boxes: Sequence[Box]) -> None:
        """Add an image with boxes; ``Box.category`` indexes the categories of this writer.

        Raises:
            ValueError: A box is not finite.
        """
        image_id = self._add_image(file_name, session, width, height)
        for box in boxes:
            self.clipped += box.clipped
            self._annotations.append(_annotation(box, len(self._annotations) + 1, image_id))

    def add_annotations(
        self, file_name: str, session: str, width: int, height: int, annotations: Iterable[Mapping[str, Any]]
    ) -> None:
        """Add an image with annotations of any task, without their ``id`` and ``image_id``.

        Raises:
            ValueError: A number is not finite.
        """
        image_id = self._add_image(file_name, session, width, height)
        for one in annotations:
            self._annotations.append(_json({**one, "id": len(self._annotations) + 1, "image_id": image_id}))

    def _add_image(self, file_name: str, session: str, width: int, height: int) -> int:
        image_id = len(self._images) + 1
        self.sessions.add(session)
        self._images.append(
            f'{{"file_name":{_text(file_name)},"height":{height},"id":{image_id},'
            f'"session":{_text(session)},"width":{width}}}'
        )
        return image_id

    def write(self, path: Path, *, description: str) -> None:
        """Write the document; its ``info`` names the task, unless it is detection."""
        info = {"description": description} | ({} if self._task == DEFAULT_TASK else {"task": self._task})
        categories = [{"id": index + 1, "name": name} for index, name in enumerate(self._categories)]
        path.write_text(
            f'{{"annotations":[{",".join(self._annotations)}],"categories":{_json(categories)},'
            f'"images":[{",".join(self._images)}],"info":{_json(info)},"licenses":[]}}\n',
            "utf-8",
        )


def _annotation(box: Box, number: int, image_id: int) -> str:
    """One annotation. Numbers are formatted as ``json`` does: the shortest text that gives the same float."""
    area = round(box.width * box.height, 4)
    if not math.isfinite(box.x + box.y + area):
        raise ValueError(f"a box that is not finite: {box}")
    return (
        f'{{"area":{area},"bbox":[{box.x},{box.y},{box.width},{box.height}],"category_id":{box.category + 1},'
        f'"id":{number},"image_id":{image_id},"iscrowd":{int(box.crowd)}}}'
    )


def write_json(path: Path, document: object) -> None:
    """Write JSON whose bytes depend on the content only."""
    path.write_text(_json(document) + "\n", "utf-8")
