"""Labelled images as annotation tools export them -> raw data of this project: layout, labels, sessions, import."""
