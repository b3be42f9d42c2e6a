"""COCO labels, as annotation tools export them: JSON with images, annotations and categories."""
