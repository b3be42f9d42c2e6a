"""Timing caches: measurements of earlier builds, which the next build does not repeat.

A timing cache belongs to one device and one version of TensorRT. It is not an input of an engine in lineage: builds
write it, and an engine that depended on it would become stale by its own build. The manifest names it by its hash, and
two rules keep that hash constant:

- An engine that is built again from the same graph with the same settings gets the cache that it was built with before,
  and that cache is not changed. Its tactics are the same, its bytes are the same, and nothing downstream is stale.
- Any other engine starts from the latest cache of the device; that cache with its additions becomes the latest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class CacheKey:
    """What measurements belong to.

    Attributes:
        device: Digest of the platform, the GPU and the version of TensorRT, 32 hex digits.
        engine: Digest of the graph and the settings, 32 hex digits.
    """

    device: str
    engine: str


class TimingCaches(Protocol):
    """Where timing caches are kept."""

    def find(self, device: str, engine: str | None) -> bytes | None:
        """The cache that ``engine`` was built with on ``device``, or the latest of ``device``; None when there is none.

        Never raises for a cache that cannot be read: a build does not need one.
        """

    def keep(self, device: str, engine: str, content: bytes) -> None:
        """Keep ``content`` as the cache that ``engine`` was built with, and as the latest of ``device``."""


def cache_key(fingerprint: str, gpu: str, tensorrt: str, onnx_md5: str, settings: Mapping[str, Any]) -> CacheKey:
    """The key of the measurements that a build on this device reads and writes."""
    return CacheKey(_md5([fingerprint, gpu, tensorrt]), _md5([onnx_md5, dict(settings)]))


def md5_of_bytes(content: bytes) -> str:
    """Md5 as DVC computes it: the version of a cache in the store."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5(document: Any) -> str:
    return md5_of_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
