"""Servers that several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.kubectl import Kubectl
from support.kubernetes import control_plane
from support.s3 import S3, serving


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server with an empty bucket; each test uses its own prefix or namespace."""
    with serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_credentials(s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, with its owner's credentials in the environment."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubectl]:
    """kubectl for a real API server with our CRDs and no node; each test uses its own namespaces."""
    with control_plane() as kubectl:
        yield kubectl
