"""The settings of the init container from the pod template."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.proc import node
from tunecast_core.records.manifest import Archive
from tunecast_init.settings import SettingsError, from_environment

MINIMAL = {"TUNECAST_KEY": "k", "TUNECAST_NAMESPACE": "n"}


@pytest.mark.parametrize("missing", MINIMAL)
def test_key_and_namespace_are_needed(missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        from_environment({name: value for name, value in MINIMAL.items() if name != missing})


def test_the_rest_has_defaults() -> None:
    found = from_environment(MINIMAL)
    assert (found.mount_path, found.trust) == (Path("/var/cache/tunecast"), Path("/etc/tunecast/trust"))


@pytest.mark.parametrize(
    ("environment", "layer", "wanted"),
    [
        ({}, "Triton", True),
        ({"TUNECAST_EXCLUDED_LAYERS": ""}, "Triton", True),
        ({"TUNECAST_EXCLUDED_LAYERS": "CUDA,Triton"}, "Triton", False),
        ({}, "PythonBytecode", False),
        ({"TUNECAST_PYCACHE": "false"}, "PythonBytecode", False),
        ({"TUNECAST_PYCACHE": "true"}, "PythonBytecode", True),
        ({}, "ALayerOfLater", False),
    ],
)
def test_which_archives_are_wanted(environment: dict[str, str], layer: str, *, wanted: bool) -> None:
    assert from_environment({**MINIMAL, **environment}).wants(Archive(layer, "", 0, 0, 0)) is wanted


H100, PROC = {"TUNECAST_GPU_PRODUCT": "NVIDIA-H100-80GB-HBM3"}, {"TUNECAST_WANTS_GPU": "true"}


@pytest.mark.parametrize(
    ("products", "environment", "name"),
    [
        (["NVIDIA L4"], PROC, "nvidia-l4"),
        (["NVIDIA L4"], {**PROC, **H100}, "nvidia-l4"),
        ([], {**PROC, **H100}, "nvidia-h100-80gb-hbm3"),
        ([], PROC, "unknown"),
        (["NVIDIA L4"], {}, "cpu"),
        (["NVIDIA L4"], H100, "cpu"),
    ],
    ids=[
        "the node names its GPU", "the node rather than the pod's selector", "the selector if the node hides its GPU",
        "neither names a GPU", "the engine asks for no GPU", "its selector does not matter",
    ],
)  # fmt: skip
def test_the_nodes_hardware(tmp_path: Path, products: list[str], environment: dict[str, str], name: str) -> None:
    proc = {"TUNECAST_PROC": str(node(tmp_path / "proc", *products))}
    assert from_environment({**MINIMAL, **proc, **environment}).hardware.name.startswith(name)


LIMIT, REQUEST, ENGINE = "TUNECAST_STORAGE_LIMIT", "TUNECAST_STORAGE_REQUEST", "TUNECAST_ENGINE_STORAGE_LIMIT"


@pytest.mark.parametrize(
    ("environment", "limit"),
    [
        ({}, None),
        ({LIMIT: "50000000000", REQUEST: "0"}, None),  # no limit is set
        ({LIMIT: "100", REQUEST: "100"}, 100),
        ({LIMIT: "100", REQUEST: "50", ENGINE: "300"}, 300),
        ({LIMIT: "100", REQUEST: "50", ENGINE: "30"}, 100),
        ({LIMIT: "50000000000", REQUEST: "0", ENGINE: "300"}, 300),
    ],
)
def test_the_pods_limit_on_ephemeral_storage(environment: dict[str, str], limit: int | None) -> None:
    assert from_environment({**MINIMAL, **environment}).storage_limit == limit
