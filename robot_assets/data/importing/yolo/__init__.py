"""YOLO labels: a text file per image, a line per box, and files that name the classes."""
