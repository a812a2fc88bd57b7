"""Fixtures for tests of the operator."""

from __future__ import annotations

import itertools

import pytest

from harness.kubectl import Kubectl
from support.driver import Driver
from support.s3 import S3

NUMBERS = itertools.count()


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3, request: pytest.FixtureRequest) -> Driver:
    """An operator in the test's own namespace, which is named after the test's module."""
    module = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    namespace = f"{module}-{next(NUMBERS)}"
    kubernetes("create", "namespace", namespace)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)
