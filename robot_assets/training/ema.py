"""Exponential moving average of a network's weights, which evaluates better than the weights do."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """A shadow of a network.

    Args:
        network: What is trained. From here on its leaves change in place only, as an optimizer and
            ``load_state_dict`` change them.
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
        # Collected once: walking two networks every step takes longer than the arithmetic.
        shadow, present = self.network.state_dict(), network.state_dict()
        floating = [name for name, leaf in shadow.items() if leaf.is_floating_point()]
        self._averaged = [shadow[name] for name in floating], [present[name] for name in floating]
        self._copied = [(leaf, present[name]) for name, leaf in shadow.items() if not leaf.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights of the network."""
        self.steps += 1
        weight = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(*self._averaged, weight)
        for shadow, present in self._copied:
            shadow.copy_(present)
