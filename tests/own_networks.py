"""An installed package with networks of somebody else: one that fits, and one for each mistake."""

import sys
from contextlib import contextmanager
from pathlib import Path

from robot_assets.tasks.detection.task import TASK, DetectionLossSpec
from robot_assets.tasks.interface import Interface, Preprocessing
from robot_assets.tasks.networks import NetworkDefinition, OwnNetwork, interface_of
from tests.plugins import install

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-nets"
version = "1.0.0"

[tool.setuptools]
packages = ["acme_nets"]
""",
    "acme_nets/__init__.py": '"""Networks of Acme."""\n',
    "acme_nets/pico.py": '''
import torch
from torch import nn
from torch.nn import functional

CONSTANT = 3


class NotANetwork:
    pass


def function():
    pass


class Pico(nn.Module):
    """Fits; what it answers with depends on ``answer``."""

    def __init__(self, classes: int, width: int = 8, answer: str = "mapping") -> None:
        super().__init__()
        self.answer = answer
        self.stem = nn.Sequential(nn.Conv2d(3, width, 8, 8, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.heads = nn.ModuleDict({"cls_s8": nn.Conv2d(width, classes, 1), "box_s8": nn.Conv2d(width, 4, 1)})
        if answer == "raises":
            raise FileNotFoundError("no /models/anchors.npy")

    def forward(self, images):
        features = self.stem(images)
        found = {name: head(features) for name, head in self.heads.items()}
        match self.answer:
            case "mapping":
                return found
            case "tuple":
                return tuple(found.values())
            case "list":
                return list(found.values())
            case "one":
                return found["cls_s8"]
            case "text":
                return "boxes"
            case "names":
                return {"scores": found["cls_s8"], "box_s8": found["box_s8"]}
            case "integers":
                return found["cls_s8"].argmax(1, keepdim=True).expand(-1, 3, -1, -1), found["box_s8"]
            case "none":
                return found["cls_s8"], None


class Failing(Pico):
    """Fails in the layer ``stem`` in a step that ``when`` names."""

    def __init__(self, when: str) -> None:
        super().__init__(3)
        self.stem.append(Breaking(when))


class Breaking(nn.Module):
    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def forward(self, x):
        match self.when:
            case "forward":
                return x @ torch.zeros(3, 3)
            case "not finite":
                return x / 0.0
            case "gradient":
                return torch.sqrt(functional.relu(x) * 0)
            case "backward":
                return Unbackward.apply(x)
            case "capture":
                return x if x.mean().item() > 0 else -x
            case "operator":
                return torch.erfinv(torch.tanh(x) / 2)
            case "preflight":
                return torch.where(torch.isinf(x), torch.zeros_like(x), x)
        return x


class Unbackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("no gradient of this operation")


class Empty(nn.Module):
    def forward(self, images):
        return images


class Uninitialized(nn.Module):
    def __init__(self) -> None:
        pass


class Idle(Pico):
    """Has a layer that no head reads."""

    def __init__(self) -> None:
        super().__init__(3)
        self.idle = nn.Conv2d(3, 3, 1)
''',
    "acme_nets/broken.py": "import torch\n\nraise RuntimeError('no licence server')\n",
    "acme_nets/needs.py": "import a_library_that_nobody_has\n",
    "acme_nets/syntax.py": "def network(:\n",
}


@contextmanager
def installed(folder: Path):
    """The package on the path of this process."""
    forget()
    path = str(install(FILES, folder))
    sys.path.insert(0, path)
    try:
        yield Path(path)
    finally:
        sys.path.remove(path)
        forget()


def forget() -> None:
    """Import the package anew when it is asked for again: another test installs another one of its name."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_nets"]:
        del sys.modules[name]


def own(kind: str = "acme_nets.pico:Pico", **arguments: object) -> OwnNetwork:
    return OwnNetwork(kind=kind, arguments=arguments, input_height=32, input_width=32, heads={"strides": [8]})


def interface(network: OwnNetwork) -> Interface:
    return interface_of(TASK, network, Preprocessing(), ("red", "green", "blue"))


def definition(network: OwnNetwork) -> NetworkDefinition:
    return NetworkDefinition(TASK.name, network, Preprocessing(), DetectionLossSpec())
