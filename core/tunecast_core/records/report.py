"""What an init container says when it ends: its termination message, 4,096 bytes at the most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LIMIT = 4096

INSTALLED = "Installed"
NO_MANIFEST = "NoManifest"  # nothing was published for this key yet
NO_BUNDLE_FOR_HARDWARE = "NoBundleForThisGPU"  # a bundle of this key was published, for other hardware
NO_TRUST = "NoTrust"
QUARANTINED = "Quarantined"
DEADLINE_EXCEEDED = "DeadlineExceeded"
NOTHING_WANTED = "NothingWanted"  # every layer of the bundle is excluded here
BLOCKED_BY_MESH = "BlockedByMesh"  # the store can't be reached, in a pod whose proxy may start later
NO_ROOM = "NoRoom"  # the bundle doesn't fit the pod's ephemeral storage, or the node's
TERMINATED = "Terminated"  # the pod was deleted first
OUT_OF_MEMORY = "OutOfMemory"
INTERRUPTED = "Interrupted"  # killed with its supervisor, as the kernel does with memory.oom.group
INTERNAL_ERROR = "InternalError"
# and the reasons of tunecast_core.errors


@dataclass(frozen=True, slots=True)
class InitReport:
    result: Literal["Hit", "Cold"]
    reason: str
    message: str
    key: str
    manifest: str = ""  # digest of the manifest's signed payload: of what is installed, or quarantined
    bytes: int = 0  # fetched
    seconds: dict[str, float] = field(default_factory=dict)  # start, clear, manifest, fetch, unpack, total
    layers: tuple[str, ...] = ()  # installed
    hardware: str = ""  # of the node: a name of hardware.py
