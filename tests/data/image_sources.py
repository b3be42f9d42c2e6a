"""Small real sources of labelled images, generated from a seed."""

import io
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ball", "human", "goal post")
WIDTH, HEIGHT = 64, 48
GOOD_LABEL = "0 0.5 0.5 0.25 0.25\n1 0.25 0.5 0.2 0.3\n"


def encoded_image(seed: str, *, format: str = "JPEG", width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """An image of large random patches: different seeds have as different perceptual hashes as different places."""
    patches = np.random.default_rng(zlib.crc32(seed.encode())).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC).save(buffer, format)
    return buffer.getvalue()


def write_yolo(root: Path, sessions: dict[str, int], label: str = GOOD_LABEL) -> Path:
    """A YOLO source: obj.names, NOTICE, and for each session a folder of images with labels beside them."""
    root.mkdir(parents=True)
    (root / "obj.names").write_text("\n".join(CLASSES) + "\n")
    (root / "NOTICE").write_text("Copyright the robots. Apache-2.0\n")
    for session, count in sessions.items():
        folder = root / session
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:03}.jpg").write_bytes(encoded_image(f"{session}/{number}"))
            # The rarest class is in one image per session only.
            extra = "2 0.75 0.5 0.1 0.4\n" if number == 0 else ""
            (folder / f"{number:03}.txt").write_text(label + extra)
    return root


def write_coco(root: Path, sessions: dict[str, int]) -> Path:
    """A COCO source in the layout of our raw data sets; category ids with a gap, as tools export them."""
    document: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3 * i + 1, "name": name} for i, name in enumerate(CLASSES)],
    }
    for session, count in sessions.items():
        folder = root / "images" / session
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:03}.png").write_bytes(encoded_image(f"{session}/{number}", format="PNG"))
            image_id = len(document["images"]) + 10
            document["images"].append(
                {"id": image_id, "file_name": f"{session}/{number:03}.png", "width": WIDTH, "height": HEIGHT}
            )
            for category in document["categories"][: 3 if number == 0 else 2]:
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": image_id,
                        "category_id": category["id"],
                        "bbox": [4, 4, 20, 10.5],
                        "area": 210,
                        "iscrowd": 0,
                    }
                )
    write_labels(root, document)
    return root


def read_labels(root: Path) -> dict:
    return json.loads((root / "annotations.json").read_text("utf-8"))


def write_labels(root: Path, document: object) -> None:
    (root / "annotations.json").write_text(json.dumps(document), "utf-8")


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
