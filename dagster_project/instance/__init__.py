"""Reads of a Dagster instance: event log, history, status of the project."""
