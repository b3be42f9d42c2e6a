"""Class indices of masks are bytes."""

from __future__ import annotations

IGNORED = 255
"""Value of pixels that are neither trained on nor scored."""
CLASSES_MAX = IGNORED
"""Number of classes that a byte has indices for, besides :data:`IGNORED`."""
