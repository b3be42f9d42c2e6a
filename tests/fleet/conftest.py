"""A bucket of the S3 server, and the environment of its client."""

from __future__ import annotations

import uuid
from urllib.request import Request, urlopen

import pytest


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a client of S3 with credentials and without retries."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return monkeypatch


@pytest.fixture
def bucket(s3_server: str, aws: pytest.MonkeyPatch) -> str:
    """The URL of a repository in a new bucket."""
    aws.setenv("AWS_ENDPOINT_URL", s3_server)
    name = f"fleet-{uuid.uuid4().hex}"
    urlopen(Request(f"{s3_server}/{name}", method="PUT")).close()
    return f"s3://{name}/repository"
