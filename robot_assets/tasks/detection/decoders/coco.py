"""Names of the classes of COCO 2017 (https://cocodataset.org), which most published detectors have."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -, dining table, -, -, toilet, -, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase,
scissors, teddy bear, hair drier, toothbrush
"""
"""By category id from 1; COCO has dropped those with a dash."""

_CATEGORIES = tuple(name.strip() for name in _NAMES.split(","))

COCO: Mapping[str, tuple[str | None, ...]] = {
    "coco80": tuple(name for name in _CATEGORIES if name != "-"),
    "coco91": (None, *(None if name == "-" else name for name in _CATEGORIES)),
}
"""``coco80``: the 80 classes in order, as in the YOLO family. ``coco91``: by category id, 0 to 90, as in DETR."""
