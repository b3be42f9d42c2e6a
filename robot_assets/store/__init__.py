"""Content-addressed artifacts, byte for byte a DVC remote.

``Store`` has the operations; each is implemented in a module of its own: ``adding``, ``checkout``, ``reading``,
``transfer``. ``eviction`` bounds the cache of a store that has a remote.
"""

from robot_assets.store.artifact import Artifact, is_directory
from robot_assets.store.pointer import Pointer, read_lock, read_pointer, write_pointer
from robot_assets.store.store import Store, open_store

__all__ = [
    "Artifact",
    "Pointer",
    "Store",
    "is_directory",
    "open_store",
    "read_lock",
    "read_pointer",
    "write_pointer",
]
