"""Masks: an image beside each image, whose values or colours are classes; and files that name the classes."""
