"""Runs a separate control plane for tests that need a real API server but no node."""

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
    """Yields kubectl for an API server with our CRDs; its ``environment`` has KUBECONFIG, S3's address and more.

    ``prefix`` distinguishes the control planes of one process.
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
    kubectl("apply", "--server-side", "-f", str(CRDS))  # the CRDs are larger than an annotation can hold
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    wait_for(lambda: _listed(kubectl), "the API server serves the CRDs", 120)
    wait_for(lambda: "infd" in kubectl("api-resources", "--categories=tunecast"), "kubectl knows the short names", 120)
    path = f"apis/{GROUP}/{VERSION}"
    wait_for(lambda: path in kubectl("get", "--raw", "/openapi/v3"), "explanations are served", 120)


def _listed(kubectl: Kubectl) -> bool:
    """Returns whether the CRDs can be listed: until their storage is ready, the API server answers 429."""
    try:
        kubectl("get", "inferencedeployments,startupcaches", "-A")
    except CommandError:
        return False
    return True
