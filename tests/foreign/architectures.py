"""Networks of common constructions, as torch exports them at its own operator set. Written from their papers."""

import contextlib
import io
import logging
import math
import warnings

import onnx
import torch
from torch import nn
from torch.nn import functional

SIZE = 64


class ConvSilu(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(self.norm(self.conv(x)))


class SplitBlock(nn.Module):
    """Halves of the channels, of which one goes through a residual pair; all parts are concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = ConvSilu(channels, channels, 1), ConvSilu(channels + channels // 2, channels, 1)
        self.pair = nn.Sequential(ConvSilu(channels // 2, channels // 2), ConvSilu(channels // 2, channels // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.first(x).chunk(2, 1)
        return self.last(torch.cat([one, other, other + self.pair(other)], 1))


class AnchorFreeDetector(nn.Module):
    """Split blocks, pyramid pooling, top-down fusion, boxes as expectations over 8 bins: one output (1, 4 + C, A)."""

    BINS = 8

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvSilu(3, 16, 3, 2), ConvSilu(16, 16, 3, 2), SplitBlock(16))
        self.fine = nn.Sequential(ConvSilu(16, 32, 3, 2), SplitBlock(32))
        self.coarse = nn.Sequential(ConvSilu(32, 32, 3, 2), SplitBlock(32))
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.fuse = ConvSilu(32 * 3, 32, 1)
        self.merge = SplitBlock(64)
        self.narrow = ConvSilu(64, 32, 1)
        self.boxes = nn.ModuleList(nn.Conv2d(32, 4 * self.BINS, 1) for _ in range(2))
        self.scores = nn.ModuleList(nn.Conv2d(32, classes, 1) for _ in range(2))
        self.bins = nn.Conv2d(self.BINS, 1, 1, bias=False)
        self.bins.weight.data[:] = torch.arange(float(self.BINS)).reshape(1, -1, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fine = self.fine(self.stem(images))
        coarse = self.coarse(fine)
        pooled = self.pool(coarse)
        coarse = self.fuse(torch.cat([coarse, pooled, self.pool(pooled)], 1))
        fine = self.narrow(self.merge(torch.cat([fine, functional.interpolate(coarse, scale_factor=2.0)], 1)))
        levels = (fine, coarse)
        raw = torch.cat([head(one).flatten(2) for head, one in zip(self.boxes, levels, strict=True)], 2)
        scores = torch.cat([head(one).flatten(2) for head, one in zip(self.scores, levels, strict=True)], 2)
        edges = self.bins(raw.view(1, 4, self.BINS, -1).transpose(1, 2).softmax(1)).view(1, 4, -1)
        near, far = edges.chunk(2, 1)
        return torch.cat([(far - near) / 2, near + far, scores.sigmoid()], 1)


class Attention(nn.Module):
    """Self-attention and a feed-forward part, both with a residual and a layer norm before them."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.first(x)
        q, k, v = (
            part(normed).view(1, -1, self.heads, x.shape[2] // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(1, -1, x.shape[2]))
        return x + self.narrow(functional.gelu(self.wide(self.second(x))))


class QueryDetector(nn.Module):
    """Patches through self-attention; logits and boxes of 16 queries."""

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 16, 16)
        self.position = nn.Parameter(torch.randn(1, 16, 32) * 0.1)
        self.blocks = nn.Sequential(Attention(), Attention())
        self.logits, self.boxes = nn.Linear(32, classes + 1), nn.Linear(32, 4)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.blocks(self.patches(images).flatten(2).transpose(1, 2) + self.position)
        return self.logits(tokens), self.boxes(tokens).sigmoid()


class Segmenter(nn.Module):
    """Depthwise convolutions with hard swish and a squeeze gate, transposed convolutions, logits of the full size."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)
        self.depthwise, self.pointwise = nn.Conv2d(16, 16, 5, 2, 2, groups=16), nn.Conv2d(16, 32, 1)
        self.squeeze, self.excite = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.norm = nn.GroupNorm(4, 32)
        self.up, self.last = nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(16, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.pointwise(functional.hardswish(self.depthwise(functional.hardswish(self.stem(images)))))
        gate = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = functional.leaky_relu(self.up(self.norm(x * gate)), 0.1)
        return functional.interpolate(self.last(x), scale_factor=4.0, mode="bilinear")


ARCHITECTURES = {"anchor_free": AnchorFreeDetector, "queries": QueryDetector, "segmenter": Segmenter}


def exported(name: str, opset: int = 18) -> onnx.ModelProto:
    """A network with random weights and random statistics of its batch norms, as torch exports it."""
    torch.manual_seed(0)
    network = ARCHITECTURES[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), torch.no_grad(), quiet[0], quiet[1]:
        warnings.simplefilter("ignore")
        images = torch.zeros(1, 3, SIZE, SIZE)
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            external_data=False,
            opset_version=opset,
            input_names=["images"],
            verbose=False,
        )
    return program.model_proto
