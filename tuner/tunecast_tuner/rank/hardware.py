"""Names the hardware of a rank, and checks that all ranks of an attempt run on the required hardware."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tunecast_core import hardware
from tunecast_core.records import job
from tunecast_tuner.peers.ranks import Ranks
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
QUERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ran:
    """The record of a rank's hardware for the other ranks."""

    hardware: str


def of_rank(context: Context) -> hardware.Hardware:
    """Returns the hardware by the rule of init containers, or else by the GPU that ``nvidia-smi`` shows to the rank."""
    return context.attempt.run(lambda: _find(hardware.proc_of(context.environ), wants_gpu=context.settings.wants_gpu))


def _find(proc: Path, *, wants_gpu: bool) -> hardware.Hardware:
    found = hardware.of_node(proc, wants_gpu=wants_gpu)
    product, driver = _device() if found.problem else ("", "")
    if product:
        return hardware.Hardware(hardware.gpu_name(product, platform.machine()), product, driver)
    return found


def agree(context: Context, ranks: Ranks) -> None:
    """Ends the attempt early if ranks run on different hardware, or not on the required hardware.

    Raises:
        AttemptError: HARDWARE_DIFFERS, on the rank whose hardware differs; or the attempt ended.
    """
    wanted = context.settings.hardware
    if not ranks.peers and not wanted:
        return
    mine = of_rank(context).name
    if wanted and mine != wanted:
        text = f"rank {ranks.rank} runs on {mine}, and this StartupCache is for {wanted}"
        raise AttemptError(job.HARDWARE_DIFFERS, f"{text}: label nodes so that each kind of hardware has its own value")
    if ranks.rank == 0:
        ranks.publish("hardware", Ran(mine))
        return
    leader = ranks.collect("hardware", 0, Ran).hardware
    if leader != mine:
        text = f"rank {ranks.rank} runs on {mine} and rank 0 on {leader}: a bundle is proved on one kind of hardware"
        raise AttemptError(job.HARDWARE_DIFFERS, f"{text}; give ranks a node selector that picks one")


def _device() -> tuple[str, str]:
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
        name, _, driver = done.stdout.splitlines()[0].partition(", ")
    except (OSError, subprocess.SubprocessError, IndexError):
        return "", ""
    return name, driver
