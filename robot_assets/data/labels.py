"""Writes COCO labels: equal bytes for equal content, ids from 1 in order of addition, sorted keys, no NaN."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_assets.data.boxes import Box


class LabelWriter:
    """Collects images with their boxes and writes them as a COCO document."""

    def __init__(self, categories: Sequence[str]) -> None:
        self._categories = tuple(categories)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self.clipped = 0
        self.sessions: set[str] = set()

    @property
    def images(self) -> int:
        """Number of images added."""
        return len(self._images)

    @property
    def annotations(self) -> int:
        """Number of boxes added."""
        return len(self._annotations)

    def boxes_by_class(self) -> dict[str, int]:
        """Number of boxes added, by class name, for every class."""
        counts = Counter(annotation["category_id"] for annotation in self._annotations)
        return {name: counts[index + 1] for index, name in enumerate(self._categories)}

    def add(self, file_name: str, session: str, width: int, height: int, boxes: Sequence[Box]) -> None:
        """Add an image; ``Box.category`` indexes the categories of this writer."""
        image_id = len(self._images) + 1
        self.sessions.add(session)
        self._images.append(
            {"id": image_id, "file_name": file_name, "width": width, "height": height, "session": session}
        )
        for box in boxes:
            self.clipped += box.clipped
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": box.category + 1,
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": round(box.width * box.height, 4),
                    "iscrowd": int(box.crowd),
                }
            )

    def write(self, path: Path, *, description: str) -> None:
        """Write the document."""
        document = {
            "info": {"description": description},
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": index + 1, "name": name} for index, name in enumerate(self._categories)],
        }
        write_json(path, document)


def write_json(path: Path, document: object) -> None:
    """Write JSON whose bytes depend on the content only."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")
