"""Signed provenance: what an engine was made of and how its gates ended, as in-toto statements that robots verify.

Verifying needs no network, no Dagster and no torch: robots are offline.
"""
