"""Engines: build, run, measure."""
