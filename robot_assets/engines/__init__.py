"""Engines: build, load, time, compare, gate. A folder for each engine kind; the other modules are for all kinds."""
