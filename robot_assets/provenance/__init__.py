"""Signed provenance: what an engine was made of and the results of its gates, as in-toto statements.

A robot verifies them without a network, Dagster or torch.
"""
