"""What passes between the operator and the ranks of a tuning Job: settings in, progress and results out.

All are files or staged objects, never environment variables: engines hash their environment into their keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunecast_core.records.manifest import Archive, LayerNote, Proof, Provenance
from tunecast_core.store.transport import DIRECT, Transport

SETTINGS_DIRECTORY = "/run/tunecast/job"  # where the Job's Secret is mounted
SETTINGS_FILE = "job.json"
TEMPORARY_DIRECTORY = "/run/tunecast/tmp"  # writable, on a volume of its own
TERMINATION_LOG = "/dev/termination-log"

Stage = Literal["Joining", "ColdStart", "ColdSweep", "Capture", "Broadcast", "WarmStart", "WarmSweep", "Upload", "Done"]

# Reasons a rank fails with; what the operator does about each is in its plan.
ENGINE_REJECTED = "EngineRejectedArguments"  # a retry would end the same way
ENGINE_CRASHED = "EngineCrashed"
ENGINE_OUT_OF_MEMORY = "EngineOutOfMemory"
SWEEP_REFUSED = "SweepRefused"  # it started, and accepted no request: what it builds for one is not in any cache
WARM_START_FAILED = "WarmStartFailed"  # the engine started cold, but not from the files which that start left
PEER_LOST = "PeerLost"
JOIN_TIMED_OUT = "JoinTimedOut"  # the ranks did not find each other
TERMINATED = "Terminated"  # SIGTERM: an eviction, a deletion, or the Job's end
BAD_SETTINGS = "BadSettings"
INSTALL_FAILED = "InstallFailed"
TACTICS_DIFFER = "TacticsDiffer"  # a rank replayed other kernels than rank 0 tuned
HARDWARE_DIFFERS = "HardwareDiffers"  # the scheduler put ranks on several kinds of hardware
UPLOAD_FAILED = "UploadFailed"
TIMED_OUT = "TimedOut"
INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """The Secret that every rank of one attempt reads. Re-read before an upload, since the operator renews the URLs."""

    attempt_id: str  # "<StartupCache uid>-<attempt>"
    key: str
    world_size: int
    rendezvous_host: str  # rank 0's stable hostname
    rendezvous_port: int
    workload: Literal["Engine", "Operators"]
    mount_path: str  # where layers live, the same as in serving pods
    timeout_seconds: float
    # The engine's serving command line. A Job gives it as the container's arguments instead: the kubelet expands
    # $(VARIABLE) there, as it does in replicas.
    command: tuple[str, ...] = ()
    excluded_layers: tuple[str, ...] = ()
    secret_variables: tuple[str, ...] = ()  # environment variables whose values must never be staged
    sweep: tuple[dict[str, Any], ...] = ()  # extra completion requests
    uploads: dict[str, str] = field(default_factory=dict)  # staged object's name -> presigned PUT URL
    secret_paths: tuple[str, ...] = ()  # where Secrets are mounted, whose values must never be staged either
    join_seconds: float = 600.0  # within which all ranks must have joined
    transport: Transport = DIRECT  # how the presigned URLs are reached
    wants_gpu: bool = False  # whether the engine asks for an accelerator
    hardware: str = ""  # that ranks must run on: a name of hardware.py; empty where any will do
    token: str = ""  # seals what ranks tell each other and the operator: see tunecast_core.records.seal


PROGRESS = "progress.json"


def archive_object(layer: str) -> str:
    """The staged name of a layer's archive."""
    return f"archives/{layer}"


def result_object(rank: int) -> str:
    """The staged name of a rank's result."""
    return f"results/{rank}.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """What rank 0 says of itself every few seconds."""

    stage: Stage
    seconds: float  # since the rank program started
    bytes: int = 0  # of the bundle, once it is known


@dataclass(frozen=True, slots=True)
class RankResult:
    """What a rank leaves behind: staged as JSON, and without proof and archives as its termination message."""

    rank: int
    succeeded: bool
    reason: str  # "Proved", or one of the reasons above
    message: str
    lost_rank: int | None = None  # with PEER_LOST
    archives: tuple[Archive, ...] = ()  # rank 0 alone, as are the following
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[LayerNote, ...] = ()
    proof: Proof | None = None
    provenance: Provenance | None = None
