"""Produced assets: their steps, gates, provenance checks and pages."""
