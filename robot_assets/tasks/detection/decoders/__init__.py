"""Decoders of detectors that were trained elsewhere, for the outputs that their exports usually have.

- ``options``, ``labels``, ``coco``: what all decoders have, and the classes of an export by name
- ``yolo``, ``detr``, ``ssd``, ``end_to_end``: options of the decoders, and the outputs that each reads; no NumPy
- ``decode``: the functions that robots run; NumPy alone
- ``recognize``: decoders that outputs may be read by, from their names and shapes

Formats and sources: docs/decoders.md.
"""
