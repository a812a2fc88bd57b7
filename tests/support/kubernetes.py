"""A control plane of its own for tests that need a real API server, and no node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import deploy
from harness.kubectl import CommandError, Kubectl, wait_for
from tunecast_operator.api.groups import GROUP, VERSION

CRDS = Path(__file__).resolve().parents[2] / "charts" / "tunecast" / "files" / "crds"


@contextmanager
def control_plane(prefix: str = "it") -> Iterator[Kubectl]:
    """kubectl for an API server that knows our kinds; its ``environment`` has KUBECONFIG, S3's address and more.

    ``prefix`` tells control planes of one process apart.
    """
    name = f"{prefix}-{os.getpid()}"
    try:
        deploy.cluster("up", "--control-plane", "--name", name)
        kubectl = Kubectl(deploy.cluster_environment("--name", name))
        install_crds(kubectl)
        yield kubectl
    finally:
        deploy.cluster("down", "--name", name)


def install_crds(kubectl: Kubectl) -> None:
    """Applies the CRDs and waits until they are served."""
    kubectl("apply", "--server-side", "-f", str(CRDS))  # larger than what an annotation can hold
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    wait_for(lambda: _listed(kubectl), "the kinds are served", 120)
    wait_for(lambda: "infd" in kubectl("api-resources", "--categories=tunecast"), "short names are known", 120)
    path = f"apis/{GROUP}/{VERSION}"
    wait_for(lambda: path in kubectl("get", "--raw", "/openapi/v3"), "explanations are served", 120)


def _listed(kubectl: Kubectl) -> bool:
    """An established kind's storage may still be on its way: the API server answers 429 then."""
    try:
        kubectl("get", "inferencedeployments,startupcaches", "-A")
    except CommandError:
        return False
    return True
