"""What a disk or an attacker does to a file."""

from pathlib import Path


def flip_bit(path: Path, place: int | None = None) -> None:
    """Change one bit of the byte at ``place``, by default in the middle; read-only files too."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
