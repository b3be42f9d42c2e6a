"""The domain of robot-assets: data, models, quantization and engines for robots, as files with versions.

Nothing here imports Dagster (an import-linter contract holds that). A domain function takes paths and
frozen parameters, writes one artifact and returns a frozen summary of what it did.
"""
