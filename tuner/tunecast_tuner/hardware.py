"""The hardware that a rank runs on, and the check that all ranks of an attempt run on the same."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass

from tunecast_cache import hardware, job
from tunecast_tuner.context import Context
from tunecast_tuner.failures import AttemptError
from tunecast_tuner.ranks import Ranks

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
QUERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a rank tells the others of where it runs."""

    hardware: str


def of_rank(*, wants_gpu: bool) -> hardware.Hardware:
    """By the rank's own device where it can be asked, since a node may have GPUs of several products."""
    product, driver = _device() if wants_gpu else ("", "")
    if product:
        return hardware.Hardware(hardware.gpu_name(product, platform.machine()), product, driver)
    return hardware.of_node(wants_gpu=wants_gpu)


def agree(context: Context, ranks: Ranks) -> None:
    """Ends the attempt early where a peer runs on other hardware than rank 0.

    Raises:
        AttemptError: HARDWARE_DIFFERS, on that peer; or the attempt ended.
    """
    if not ranks.peers:
        return
    mine = context.attempt.run(lambda: of_rank(wants_gpu=context.settings.wants_gpu)).name
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
