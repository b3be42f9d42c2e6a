"""Imports securesystemslib without the clients of key services that it looks for: boto3 alone takes 11 MB of memory.

The agent signs with a file and verifies with public keys. Its process calls :func:`import_signers` first, before
anything imports ``tuf``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_NOT_NEEDED = ("boto3", "azure.core.exceptions", "azure.identity", "google.cloud.kms", "hvac", "keylet", "pkcs11")


def import_signers() -> None:
    """Import what verifies signatures, and nothing that signs with a key of a cloud."""
    with _hidden(_NOT_NEEDED):
        import securesystemslib.signer  # noqa: F401 - for its effect


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Make the import of some modules fail, unless they are imported already."""
    modules = cast("dict[str, Any]", sys.modules)
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))  # None: an import raises ModuleNotFoundError
    try:
        yield
    finally:
        for name in hidden:
            modules.pop(name, None)
