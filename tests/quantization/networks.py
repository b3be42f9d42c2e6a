"""Small networks of every construction that people use, each with one input of 3 x 32 x 32."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 32


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **settings) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False, **settings)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Depthwise(nn.Module):
    """Depthwise and grouped convolutions with the activations of mobile networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=2)
        self.depthwise = conv(16, 16, groups=16)
        self.grouped = conv(16, 16, groups=4)
        self.dilated = nn.Conv2d(16, 16, 3, padding="same", dilation=2)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.stem(x))
        x = functional.hardswish(self.depthwise(x))
        x = functional.leaky_relu(self.grouped(x), 0.1)
        return self.head(functional.gelu(self.dilated(x)))


class Gate(nn.Module):
    """Squeeze and excitation around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(16, 8, 1)
        self.excite = nn.Conv2d(8, 16, 1)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(self.pool(x)))))
        return self.head(x + x * gate)


class Pyramid(nn.Module):
    """Resizing in both ways, transposed convolution, pooling, concatenation; two heads by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.down = conv(8, 8, stride=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2, bias=False)
        self.up_norm = nn.BatchNorm2d(8)
        self.merge = conv(40, 8)
        self.heads = nn.ModuleDict({"fine": nn.Conv2d(8, 2, 1), "coarse": nn.Conv2d(8, 3, 1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = torch.relu(self.stem(x))
        coarse = torch.relu(self.down(fine))
        parts = [
            fine,
            torch.relu(self.up_norm(self.up(coarse))),
            functional.interpolate(coarse, scale_factor=2.0, mode="nearest"),
            functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False),
            functional.avg_pool2d(functional.max_pool2d(fine, 3, 1, 1), 3, 1, 1),
        ]
        merged = torch.relu(self.merge(torch.cat(parts, 1)))
        return {"coarse": self.heads["coarse"](coarse), "fine": self.heads["fine"](merged)}


class Shuffle(nn.Module):
    """Channel split, concatenation, and channel shuffle by reshaping."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=2)
        self.branch = conv(8, 8)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.relu(self.stem(x)).chunk(2, 1)
        both = torch.cat([left, torch.relu(self.branch(right))], 1)
        n, c, h, w = both.shape
        shuffled = both.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(shuffled)


class PreActivation(nn.Module):
    """Batch norms before convolutions, one without weights of its own, and one after an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.first = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, 1, 1)
        self.last = nn.BatchNorm2d(8, affine=False)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv(torch.relu(self.first(x)))
        return self.head(torch.relu(self.last(x)))


class Classifier(nn.Module):
    """Linear layers after pooling, with a batch norm of vectors and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.hidden = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(torch.relu(self.stem(x)), 1).flatten(1)
        return self.out(self.drop(torch.relu(self.norm(self.hidden(x)))))


class Attention(nn.Module):
    """A transformer layer over the cells of a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=4)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.out = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.relu(self.stem(x)).flatten(2).transpose(1, 2)
        return self.out(self.encoder(tokens).mean(1))


class Shared(nn.Module):
    """One tower for two levels, each with a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.tower = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        fine = torch.relu(self.stem(x))
        levels = (fine, functional.max_pool2d(fine, 2))
        return tuple(
            self.head(torch.relu(norm(self.tower(level)))) for norm, level in zip(self.norms, levels, strict=True)
        )


class Computed(nn.Module):
    """Weight standardization: the weights of a convolution are computed in the graph; and layers in place."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3))
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        x = self.act(functional.conv2d(x, weight, stride=2, padding=1))
        return self.head(functional.mish(x + 0.5))


ALL = (Depthwise, Gate, Pyramid, Shuffle, PreActivation, Classifier, Attention, Shared, Computed)


def built(network: type[nn.Module]) -> nn.Module:
    """A network in eval mode whose batch norms have seen something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = network()
        for one in module.modules():
            if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
                one.running_mean.normal_(0, 0.1)
                one.running_var.uniform_(0.5, 2)
                if one.affine:
                    nn.init.uniform_(one.weight, 0.5, 1.5)
                    nn.init.normal_(one.bias, 0, 0.1)
    return module.eval()
