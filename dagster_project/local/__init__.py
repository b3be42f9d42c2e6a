"""A Dagster instance on one machine: configuration, run launcher, waves of ``build``."""
