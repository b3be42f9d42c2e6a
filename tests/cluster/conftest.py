"""Fixtures of the placement tests."""

import pytest

from tests.cluster.sample_params import cluster_document


@pytest.fixture
def document() -> dict:
    return cluster_document()
