"""Detectors of the compact network for tests: their interface, their definition, and built ones."""

from torch import nn

from robot_assets.tasks.building import build
from robot_assets.tasks.checkpoint import CheckpointConfig
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.tasks.detection.task import TASK, DetectionLossSpec
from robot_assets.tasks.detection.training import DetectionLearning
from robot_assets.tasks.interface import Interface, Preprocessing
from robot_assets.tasks.networks import NetworkDefinition, interface_of

CLASSES = ("red", "green", "blue")
LOSS = DetectionLossSpec()


def interface(spec: NetworkSpec, classes: tuple[str, ...] = CLASSES, **preprocessing: object) -> Interface:
    return interface_of(TASK, spec, Preprocessing(**preprocessing), classes)


def definition(spec: NetworkSpec) -> NetworkDefinition:
    return NetworkDefinition(TASK.name, spec, Preprocessing(), LOSS)


def config(spec: NetworkSpec, classes: tuple[str, ...] = CLASSES) -> CheckpointConfig:
    return CheckpointConfig(spec, interface(spec, classes))


def detector(spec: NetworkSpec, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> nn.Module:
    return build(spec, interface(spec, classes), seed)


def learning(spec: NetworkSpec) -> DetectionLearning:
    return DetectionLearning(interface(spec), LOSS, "cpu")
