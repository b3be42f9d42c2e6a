"""Timing caches: what earlier builds have measured, so that the next one need not measure it again.

A timing cache belongs to one device and one version of TensorRT. It is no input of an engine in lineage: it is made by
builds, and an engine that depended on it would be stale by its own making. So the engine names it by its hash, and
these two rules keep that hash still:

- An engine that is built again from the same graph with the same settings gets the cache that it was built with before,
  and that cache is not changed. Its tactics are the same, its bytes are the same, and nothing after it is stale.
- Any other engine starts from the latest cache of the device; what it adds becomes the latest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class CacheKey:
    """Whose measurements they are.

    Attributes:
        device: Fingerprint of the platform and the GPU, and version of TensorRT: 32 hex digits.
        engine: Of the graph and the settings that are built with them: 32 hex digits.
    """

    device: str
    engine: str


class TimingCaches(Protocol):
    """Where timing caches are kept."""

    def find(self, device: str, engine: str | None) -> bytes | None:
        """The cache that ``engine`` was built with on ``device``, or the latest of ``device``; None when there is none.

        Never raises for a cache that cannot be had: a build can do without.
        """

    def keep(self, device: str, engine: str, content: bytes) -> None:
        """Keep ``content`` as what ``engine`` was built with, and as the latest of ``device``."""


def cache_key(fingerprint: str, gpu: str, tensorrt: str, onnx_md5: str, settings: Mapping[str, Any]) -> CacheKey:
    """Whose measurements a build on this device reads and writes."""
    return CacheKey(_md5([fingerprint, gpu, tensorrt]), _md5([onnx_md5, dict(settings)]))


def md5_of_bytes(content: bytes) -> str:
    """Md5 as DVC computes it, which is the version of a cache in the store."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5(document: Any) -> str:
    return md5_of_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
