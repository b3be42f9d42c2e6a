"""Labelled images as a person has them: a red ball and a blue post on a dark, noisy ground, in a few sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("ball", "goal post")
WIDTH, HEIGHT = 96, 64


def draw(path: Path, seed: int) -> list[tuple[int, float, float, float, float]]:
    """Write one image; return its boxes: class, x, y, width and height in pixels. A seed gives one file."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 70, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    brush = ImageDraw.Draw(image)
    boxes = []
    for category in range(len(CLASSES)):
        width, height = (int(side) for side in rng.integers(18, 30, 2))
        x, y = int(rng.integers(category * 48, category * 48 + 46 - width)), int(rng.integers(0, HEIGHT - height - 1))
        corners = (x, y, x + width, y + height)
        if category == 0:
            brush.ellipse(corners, fill=(255, 60, 20))
        else:
            brush.rectangle(corners, fill=(40, 90, 255))
        boxes.append((category, float(x), float(y), float(width), float(height)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)
    return boxes


def row(box: tuple[int, float, float, float, float]) -> str:
    """A line of a YOLO label file."""
    category, x, y, width, height = box
    cx, cy = (x + width / 2) / WIDTH, (y + height / 2) / HEIGHT
    return f"{category} {cx:.5f} {cy:.5f} {width / WIDTH:.5f} {height / HEIGHT:.5f}\n"


def label(image: Path, seed: int, labels: Path | None = None) -> None:
    """Write an image and its YOLO label file, beside it or at ``labels``."""
    text = "".join(map(row, draw(image, seed)))
    target = labels or image.with_suffix(".txt")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def write_recordings(root: Path, sessions: int = 4, images: int = 8) -> Path:
    """A YOLO folder with one folder a recording session."""
    for session in range(sessions):
        for number in range(images):
            label(root / f"2026-11-{session + 1:02}" / "robot1" / f"{number:03}.jpg", 100 * session + number)
    (root / "obj.names").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


def write_roboflow(root: Path) -> Path:
    """A Roboflow export (YOLO): splits of its own, and names with the session and a hash."""
    for number in range(32):
        split = ("train", "train", "train", "valid", "test")[number % 5]
        session, frame = divmod(number, 8)
        name = f"robot1-2026110{session + 1}_{frame:03}_jpg.rf.{number * 2654435761 % 2**32:08x}"
        label(root / split / "images" / f"{name}.jpg", 100 * session + frame, root / split / "labels" / f"{name}.txt")
    names = ", ".join(f"'{name}'" for name in CLASSES)
    paths = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    (root / "data.yaml").write_text(f"{paths}\nnc: {len(CLASSES)}\nnames: [{names}]\n")
    (root / "README.roboflow.txt").write_text("yard - v1\nProvided by a Roboflow user\n")
    (root / "README.dataset.txt").write_text("# yard\n")
    return root


def write_cvat(root: Path) -> Path:
    """A CVAT export (YOLO 1.1): ``obj_train_data`` with the folders of the task, and the lists of the subset."""
    listed = []
    for session in range(4):
        for frame in range(8):
            image = Path("obj_train_data") / f"2026-11-{session + 1:02}" / f"frame_{frame:06}.jpg"
            label(root / image, 100 * session + frame)
            listed.append(f"data/{image}\n")
    (root / "train.txt").write_text("".join(listed))
    (root / "obj.names").write_text("".join(f"{name}\n" for name in CLASSES))
    (root / "obj.data").write_text(
        f"classes = {len(CLASSES)}\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    return root


def write_flat(root: Path) -> Path:
    """One folder of images with their labels beside them, as a person copied them together."""
    for session in range(4):
        for frame in range(8):
            label(root / f"robot{session % 2 + 1}_2026110{session + 1}_{frame:03}.jpg", 100 * session + frame)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


def write_cvat_masks(root: Path) -> Path:
    """A CVAT export (Segmentation mask 1.1): RGB masks beside the images, and the colours of the labels."""
    names = []
    (root / "SegmentationClass").mkdir(parents=True)
    for session in range(4):
        for frame in range(8):
            names.append(f"2026110{session + 1}_{frame:03}")
            boxes = draw(root / "JPEGImages" / f"{names[-1]}.jpg", 100 * session + frame)
            mask = Image.new("RGB", (WIDTH, HEIGHT))
            brush = ImageDraw.Draw(mask)
            for category, x, y, width, height in boxes:
                shape = brush.rectangle if category else brush.ellipse
                shape((x, y, x + width, y + height), fill=((250, 50, 83), (51, 221, 255))[category])
            mask.save(root / "SegmentationClass" / f"{names[-1]}.png")
    colours = "background:0,0,0::\nball:250,50,83::\ngoal post:51,221,255::\n"
    (root / "labelmap.txt").write_text(f"# label:color_rgb:parts:actions\n{colours}")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def write_polygons(root: Path) -> Path:
    """An Ultralytics data set of polygons: the balls as octagons."""
    for session in range(4):
        for frame in range(8):
            name = f"2026110{session + 1}_{frame:03}"
            boxes = draw(root / "images" / "train" / f"{name}.jpg", 100 * session + frame)
            rows = "".join(map(polygon, boxes))
            target = root / "labels" / "train" / f"{name}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(rows)
    (root / "data.yaml").write_text(f"train: images/train\nnames: [{', '.join(CLASSES)}]\n")
    return root


def polygon(box: tuple[int, float, float, float, float]) -> str:
    """A line of a YOLO label file: an octagon in the box of a ball, the corners of another box."""
    category, x, y, width, height = box
    angles = np.arange(8) * np.pi / 4 if category == 0 else np.arange(4) * np.pi / 2 + np.pi / 4
    scale = 0.5 if category == 0 else 0.5 * np.sqrt(2)
    points = [(x + width * (0.5 + scale * np.cos(a)), y + height * (0.5 + scale * np.sin(a))) for a in angles]
    return f"{category} {' '.join(f'{px / WIDTH:.5f} {py / HEIGHT:.5f}' for px, py in points)}\n"
