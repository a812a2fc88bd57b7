"""One real cluster for all end-to-end tests, with our images and chart, which an upgrade from other images installs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from e2e.elsewhere import begin, install
from e2e.tunings import begin_crashing, begin_restricted
from e2e.upgrading import EARLIER, Served, serve
from e2e.world import World
from harness import deploy
from harness.kubectl import Kubectl


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests of ``elsewhere`` to the end, because that fixture changes the shared cluster."""
    items.sort(key=lambda item: "elsewhere" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def cluster() -> Iterator[World]:
    """A cluster without Tunecast."""
    name = ("--name", f"e2e-{os.getpid()}")
    try:
        deploy.build()
        deploy.cluster("up", *name)
        environment = deploy.cluster_environment(*name)
        kubectl = Kubectl(environment)
        deploy.load_images(*name)
        kubectl.apply(deploy.namespace(deploy.SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"}))
        kubectl.apply(deploy.s3_secret(deploy.SYSTEM_NAMESPACE, environment))
        yield World(kubectl, environment)
    finally:
        deploy.cluster("down", *name)


@pytest.fixture(scope="session")
def previous(cluster: World) -> Served:
    """What an earlier operator, from other images, has tuned and serves."""
    deploy.build_images(EARLIER)
    deploy.load_images("--name", cluster.environment["TUNECAST_CLUSTER"], tag=EARLIER)
    deploy.install(cluster.kubectl, deploy.values(cluster.environment, tag=EARLIER))
    return serve(cluster)


@pytest.fixture(scope="session")
def world(cluster: World, request: pytest.FixtureRequest) -> World:
    """A cluster with Tunecast installed. If tests of the upgrade run, it was upgraded from other images."""
    if any("previous" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("previous")
    deploy.install(cluster.kubectl, deploy.values(cluster.environment))
    return cluster


@pytest.fixture(scope="session")
def elsewhere(cluster: World) -> World:
    """The same cluster with policies, quotas and a private store as users have them; all its tunings have begun."""
    install(cluster)
    begin(cluster)
    return cluster


@pytest.fixture(scope="session")
def restricted(world: World) -> str:
    """The namespace where a restricted engine is tuned; the first test that uses the fixture starts the tuning."""
    begin_restricted(world, "restricted")
    return "restricted"


@pytest.fixture(scope="session")
def crashing(world: World) -> str:
    """The namespace where engines crash from their bundle; the first test that uses the fixture starts the tuning."""
    begin_crashing(world, "crashing")
    return "crashing"
