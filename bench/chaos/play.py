"""One round: an InferenceDeployment is served, disasters strike at random moments, and the invariants are checked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import islice

from chaos import invariants
from chaos.disasters import DISASTERS
from chaos.user import NAME, User
from chaos.world import World
from support.faulty_s3 import healthy
from support.rounds import Round

CONVERGE_SECONDS = 300.0
GONE_SECONDS = 120.0


def play(world: World, seed: int) -> Round:
    chance, result = random.Random(seed), Round(seed)
    user = User(world, f"round-{seed}")
    user.begin()
    if chance.choice((True, False)):  # otherwise disasters strike before anything serves
        result.broken += settled(lambda: invariants.unsettled(user), CONVERGE_SECONDS)
        result.done.append("the deployment serves")
    for name in chance.choices([*DISASTERS], k=chance.randrange(2, 5)):
        time.sleep(chance.uniform(0, 12))
        result.done.append(DISASTERS[name](world, user, chance))
    calm(world)
    started = time.monotonic()
    open_ = settled(lambda: invariants.unsettled(user), CONVERGE_SECONDS)
    result.recovery_seconds = time.monotonic() - started
    result.broken += open_ or [*invariants.broken(user), *scale_out(user)]
    result.done.append(f"then the replicas start {user.status().get('cache')}")
    result.broken += end(user)
    return result


def calm(world: World) -> None:
    world.proxy.choose = healthy
    world.empty_disk()


def scale_out(user: User) -> list[str]:
    user.spec["replicas"] += 1
    user.apply()
    return settled(lambda: invariants.unsettled(user), CONVERGE_SECONDS) or [*invariants.scaled_out(user)]


def end(user: User) -> list[str]:
    """Deletes the InferenceDeployment; everything that served or tuned must be deleted with it."""
    user.world.patiently("delete", "infd", NAME, "-n", user.namespace, "--wait=false", "--ignore-not-found")
    return settled(lambda: gone(user), GONE_SECONDS)


def gone(user: User) -> Iterator[str]:
    for kind in ("inferencedeployments", "deployments", "pods"):
        selector = "" if kind == "inferencedeployments" else invariants.SERVING
        if names := [found["metadata"]["name"] for found in user.items(kind, selector)]:
            yield f"{kind} are left after the deletion: {names}"
    yield from invariants.left(user)


def settled(look: Callable[[], Iterator[str]], seconds: float) -> list[str]:
    """Waits until ``look`` finds nothing; returns its last findings if ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while next(look(), None) is not None:
        if time.monotonic() > deadline:
            return [*islice(look(), 10)]
        time.sleep(0.5)
    return []
