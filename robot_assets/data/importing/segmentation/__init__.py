"""Labels of semantic segmentation: a class for every pixel, from masks, polygons and runs."""
