"""The decoders of exports of other detectors."""

from __future__ import annotations

from robot_assets.tasks.detection.decoders.detr import DETR
from robot_assets.tasks.detection.decoders.end_to_end import NMS
from robot_assets.tasks.detection.decoders.ssd import SSD
from robot_assets.tasks.detection.decoders.yolo import YOLOV5, YOLOV8, YOLOX
from robot_assets.tasks.task import Decoder

DECODERS: tuple[Decoder, ...] = (YOLOV5, YOLOV8, YOLOX, DETR, SSD, NMS)
