"""Recognizing the mesh of a pod, and the advice for it."""

from __future__ import annotations

import pytest

from tunecast_core.store.mesh import MESHES, Mesh, advice, mesh_of


@pytest.mark.parametrize("mesh", MESHES, ids=lambda mesh: mesh.name)
def test_a_mesh_is_known_by_what_its_injector_leaves(mesh: Mesh) -> None:
    others = {other.variable: "" for other in MESHES}
    assert mesh_of({**others, mesh.variable: "anything"}) == mesh
    assert mesh_of(others) is None
    assert mesh_of({}) is None


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [(None, "443"), ("https://s3.example", "443"), ("http://minio:9000", "9000"), ("http://[fd00::1]", "80")],
)
def test_the_advice_names_the_port_of_the_store(endpoint: str | None, port: str) -> None:
    assert f'excludeOutboundPorts: "{port}"' in advice(MESHES[0], endpoint)
