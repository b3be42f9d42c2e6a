"""Exponential moving average of a network's weights, which evaluates better than the weights do."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """A shadow of a network.

    Args:
        network: What is trained.
        decay: Weight of the past after a step. It rises from 0.1, so that the first steps count little.

    Attributes:
        network: The shadow, always in eval mode.
        steps: Updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.steps = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the present weights of ``network``."""
        self.steps += 1
        weight = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        shadow, present = self.network.state_dict(), network.state_dict()
        floating = [name for name, leaf in shadow.items() if leaf.is_floating_point()]
        torch._foreach_lerp_([shadow[name] for name in floating], [present[name] for name in floating], weight)
        for name, leaf in shadow.items():
            if not leaf.is_floating_point():
                leaf.copy_(present[name])
