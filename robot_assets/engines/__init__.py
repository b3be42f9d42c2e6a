"""Builds, loads, times, compares and gates engines: a folder for each engine kind, and modules for all kinds."""
