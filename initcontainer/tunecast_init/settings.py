"""Settings of the init container, which the pod template passes as environment variables."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecast_core.bundle.layers import BY_NAME, PYCACHE_DIRECTORY, layer_of
from tunecast_core.errors import TunecastError
from tunecast_core.hardware import Hardware, gpu_name, of_node, proc_of
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records.manifest import Archive
from tunecast_core.store.mesh import Mesh, mesh_of

TRUST_DIRECTORY = "/etc/tunecast/trust"
TERMINATION_LOG = "/dev/termination-log"
_BYTECODE = layer_of(f"{PYCACHE_DIRECTORY}/module.pyc")


class SettingsError(TunecastError):
    reason = "BadSettings"


@dataclass(frozen=True, slots=True)
class Settings:
    key: str
    namespace: str
    mount_path: Path
    trust: Path  # directory of the trust ConfigMap
    excluded: frozenset[str]  # layers to leave out
    bytecode: bool  # whether the template sets PYTHONPYCACHEPREFIX
    hardware: Hardware  # of this node
    mesh: Mesh | None = None  # the service mesh whose proxy is in this pod
    storage_limit: int | None = None  # bytes of ephemeral storage that the kubelet lets the pod use

    def wants(self, archive: Archive) -> bool:
        """Whether this pod uses the archive's layer. Layers of later versions are left out."""
        if _BYTECODE and archive.layer == _BYTECODE.name and not self.bytecode:
            return False
        return archive.layer in BY_NAME and archive.layer not in self.excluded


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Reads the variables ``TUNECAST_*`` that ``resources/replica.py`` of the operator sets.

    Raises:
        SettingsError: the key or the namespace is missing.
    """
    return Settings(
        key=_required(environment, "TUNECAST_KEY"),
        namespace=_required(environment, "TUNECAST_NAMESPACE"),
        mount_path=mount_path(environment),
        trust=Path(environment.get("TUNECAST_TRUST") or TRUST_DIRECTORY),
        excluded=frozenset(filter(None, environment.get("TUNECAST_EXCLUDED_LAYERS", "").split(","))),
        bytecode=environment.get("TUNECAST_PYCACHE") == "true",
        hardware=node_hardware(environment),
        mesh=mesh_of(environment),
        storage_limit=_storage_limit(environment),
    )


def _storage_limit(environment: Mapping[str, str]) -> int | None:
    """Returns the largest limit, beyond which the kubelet evicts the pod.

    An init container without a request has no limit, and its variable holds the node's allocatable storage.
    """
    own = _bytes(environment, "TUNECAST_STORAGE_LIMIT") if _bytes(environment, "TUNECAST_STORAGE_REQUEST") else 0
    return max(own, _bytes(environment, "TUNECAST_ENGINE_STORAGE_LIMIT")) or None


def _bytes(environment: Mapping[str, str], name: str) -> int:
    return int(environment.get(name) or 0)


def node_hardware(environment: Mapping[str, str]) -> Hardware:
    """Returns the hardware that the node shows, else the GPU product that the pod's node selector asks for."""
    found = of_node(proc_of(environment), wants_gpu=environment.get("TUNECAST_WANTS_GPU") == "true")
    if found.problem and (product := environment.get("TUNECAST_GPU_PRODUCT")):
        return Hardware(gpu_name(product, platform.machine()), product)
    return found


def mount_path(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("TUNECAST_MOUNT_PATH") or MOUNT_PATH)


def _required(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise SettingsError(f"the variable {name} is missing: the operator's pod template sets it")
    return environment[name]
