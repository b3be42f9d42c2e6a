"""Exponential moving average of a network's weights, which is more accurate than the weights themselves."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network with averaged weights.

    Args:
        network: The network that is trained. From now on its leaves must change in place only, as an optimizer and
            ``load_state_dict`` change them.
        decay: Weight of the previous average in an update. It rises from 0.1, so that the first steps count little.

    Attributes:
        network: The copy, always in eval mode.
        steps: Updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.steps = 0
        self._decay = decay
        # Collected once: traversing two networks in every step takes longer than the arithmetic.
        average, current = self.network.state_dict(), network.state_dict()
        floating = [name for name, leaf in average.items() if leaf.is_floating_point()]
        self._averaged = [average[name] for name in floating], [current[name] for name in floating]
        self._copied = [(leaf, current[name]) for name, leaf in average.items() if not leaf.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights of the network."""
        self.steps += 1
        weight = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(*self._averaged, weight)
        for leaf, current in self._copied:
            leaf.copy_(current)
