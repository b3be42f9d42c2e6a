"""Synthetic projects, histories, artifacts and servers, for tests and benchmarks."""
