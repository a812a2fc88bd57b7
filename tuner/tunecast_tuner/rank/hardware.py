"""The hardware that a rank runs on, and the check that all ranks of an attempt run on the one that is wanted."""

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
    """What a rank tells the others of where it runs."""

    hardware: str


def of_rank(context: Context) -> hardware.Hardware:
    """As an init container would name it; where the node has several products or shows none, by the rank's device."""
    return context.attempt.run(lambda: _find(hardware.proc_of(context.environ), wants_gpu=context.settings.wants_gpu))


def _find(proc: Path, *, wants_gpu: bool) -> hardware.Hardware:
    found = hardware.of_node(proc, wants_gpu=wants_gpu)
    product, driver = _device() if found.problem else ("", "")
    if product:
        return hardware.Hardware(hardware.gpu_name(product, platform.machine()), product, driver)
    return found


def agree(context: Context, ranks: Ranks) -> None:
    """Ends the attempt early where ranks don't run on one kind of hardware, or not on the one to tune for.

    Raises:
        AttemptError: HARDWARE_DIFFERS, on the rank that runs elsewhere; or the attempt ended.
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
