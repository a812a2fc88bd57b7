"""Records that the operator and the ranks of a tuning Job exchange: settings, progress and results.

They are files or staged objects and never environment variables, because engines hash their environment into the keys
of their caches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunecast_core.records.manifest import Archive, LayerNote, Proof, Provenance
from tunecast_core.store.transport import DIRECT, Transport

SETTINGS_DIRECTORY = "/run/tunecast/job"  # mount path of the attempt's Secret
SETTINGS_FILE = "job.json"
TEMPORARY_DIRECTORY = "/run/tunecast/tmp"  # writable, on its own volume
TERMINATION_LOG = "/dev/termination-log"

Stage = Literal["Joining", "ColdStart", "ColdSweep", "Capture", "Broadcast", "WarmStart", "WarmSweep", "Upload", "Done"]

# Reasons of a rank's failure. The operator's plan defines what follows from each.
ENGINE_REJECTED = "EngineRejectedArguments"  # a retry would end the same way
ENGINE_CRASHED = "EngineCrashed"
ENGINE_OUT_OF_MEMORY = "EngineOutOfMemory"
SWEEP_REFUSED = "SweepRefused"  # the engine accepted no request, so files that a request builds can't be captured
WARM_START_FAILED = "WarmStartFailed"  # the engine started cold, but not from the files that the cold start wrote
PEER_LOST = "PeerLost"
JOIN_TIMED_OUT = "JoinTimedOut"  # not all ranks joined in time
TERMINATED = "Terminated"  # SIGTERM: the pod was evicted or deleted, or the Job ended
BAD_SETTINGS = "BadSettings"
INSTALL_FAILED = "InstallFailed"
TACTICS_DIFFER = "TacticsDiffer"  # a rank replayed other tactics than rank 0 tuned
HARDWARE_DIFFERS = "HardwareDiffers"  # the scheduler put ranks on different kinds of hardware
UPLOAD_FAILED = "UploadFailed"
TIMED_OUT = "TimedOut"
INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """The content of the Secret that every rank of one attempt reads.

    Ranks read it again before each upload, because the operator renews the presigned URLs.
    """

    attempt_id: str  # "<StartupCache uid>-<attempt>"
    key: str
    world_size: int
    rendezvous_host: str  # rank 0's stable hostname
    rendezvous_port: int
    workload: Literal["Engine", "Operators"]
    mount_path: str  # directory of the layers, the same as in serving pods
    timeout_seconds: float
    # The engine's serving command line. A Job passes it as the container's arguments instead, where the kubelet
    # expands $(VARIABLE) as it does in replicas.
    command: tuple[str, ...] = ()
    excluded_layers: tuple[str, ...] = ()
    secret_variables: tuple[str, ...] = ()  # environment variables whose values must never be staged
    sweep: tuple[dict[str, Any], ...] = ()  # extra completion requests
    uploads: dict[str, str] = field(default_factory=dict)  # name of a staged object -> presigned PUT URL
    secret_paths: tuple[str, ...] = ()  # mount paths of Secrets, whose values must never be staged
    join_seconds: float = 600.0  # deadline for all ranks to join
    transport: Transport = DIRECT  # how requests to the presigned URLs reach the store
    wants_gpu: bool = False  # whether the engine asks for an accelerator
    hardware: str = ""  # hardware that ranks must run on: a name of hardware.py; empty for any
    token: str = ""  # key of the seals on records of this attempt: see tunecast_core.records.seal


PROGRESS = "progress.json"


def archive_object(layer: str) -> str:
    """Returns the name of a layer's archive among the staged objects."""
    return f"archives/{layer}"


def result_object(rank: int) -> str:
    """Returns the name of a rank's result among the staged objects."""
    return f"results/{rank}.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of rank 0, which it stages every few seconds."""

    stage: Stage
    seconds: float  # since the rank program started
    bytes: int = 0  # size of the bundle, once it is known


@dataclass(frozen=True, slots=True)
class RankResult:
    """The result of a rank, staged as JSON. Without proof and archives, it is also the pod's termination message."""

    rank: int
    succeeded: bool
    reason: str  # "Proved", or one of the reasons above
    message: str
    lost_rank: int | None = None  # only with PEER_LOST
    archives: tuple[Archive, ...] = ()  # only rank 0 sets this and the following fields
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[LayerNote, ...] = ()
    proof: Proof | None = None
    provenance: Provenance | None = None
