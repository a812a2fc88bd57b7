"""The report of an init container, which is its termination message of at most 4,096 bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LIMIT = 4096

INSTALLED = "Installed"
NO_MANIFEST = "NoManifest"  # no bundle of this key is published yet
NO_BUNDLE_FOR_HARDWARE = "NoBundleForThisGPU"  # bundles of this key are published only for other hardware
NO_TRUST = "NoTrust"
QUARANTINED = "Quarantined"
DEADLINE_EXCEEDED = "DeadlineExceeded"
NOTHING_WANTED = "NothingWanted"  # every layer of the bundle is excluded here
BLOCKED_BY_MESH = "BlockedByMesh"  # the store can't be reached, and the proxy of a service mesh may start later
NO_ROOM = "NoRoom"  # the bundle doesn't fit into the ephemeral storage of the pod or the node
TERMINATED = "Terminated"  # the pod was deleted before the init container finished
OUT_OF_MEMORY = "OutOfMemory"
INTERRUPTED = "Interrupted"  # killed together with its supervisor, as the kernel does with memory.oom.group
INTERNAL_ERROR = "InternalError"
# The reasons of tunecast_core.errors are possible, too.


@dataclass(frozen=True, slots=True)
class InitReport:
    result: Literal["Hit", "Cold"]
    reason: str
    message: str
    key: str
    manifest: str = ""  # digest of the signed payload of the manifest that is installed or quarantined
    bytes: int = 0  # bytes that were fetched
    seconds: dict[str, float] = field(default_factory=dict)  # by phase: start, clear, manifest, fetch, unpack, total
    layers: tuple[str, ...] = ()  # layers that were installed
    hardware: str = ""  # hardware of the node: a name of hardware.py
    bundle_hardware: str = ""  # hardware on which the installed bundle was made
