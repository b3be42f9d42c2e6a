"""Observed assets and the sensors that record their versions."""
