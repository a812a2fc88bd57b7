"""A StartupCache that waits until fewer of them tune, and one whose slot others wait for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.objects import NOW
from support.observed import UNDER_WAY, job, last_failure, pod, ready, seen
from tunecast_core.errors import StoreUnavailableError
from tunecast_operator import times
from tunecast_operator.plan.rivals import Rival
from tunecast_operator.plan.slots import Queued
from tunecast_operator.plan.startup_cache import decide, not_done
from tunecast_operator.plan.tuning import CreateAttempt, DeleteJob

SECOND = Queued(2, 3, 3)
MESSAGE = "3 tunings run already, and tuning.maxConcurrent is 3: this one is 2nd in the queue"
OLD = times.text(NOW - timedelta(minutes=11))
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU is left"}


def test_it_begins_no_attempt_and_shows_its_position() -> None:
    plan = decide(seen(queued=SECOND))
    assert (plan.actions, plan.status.state, plan.status.queue_position) == ((), "Pending", 2)
    assert (ready(plan).reason, ready(plan).message) == ("Queued", MESSAGE)
    assert plan.requeue_seconds == 30


def test_its_turn_comes() -> None:
    waiting = decide(seen(queued=SECOND))
    plan = decide(seen(waiting.status))
    assert (plan.actions, plan.status.queue_position) == ((CreateAttempt(1),), None)


def test_replicas_start_cold_if_it_waits_longer_than_the_queue_timeout() -> None:
    nearly = {"queuedSince": times.text(NOW - timedelta(minutes=10) + timedelta(seconds=4))}
    plan = decide(seen(nearly, queued=SECOND))
    assert (ready(plan).reason, plan.requeue_seconds) == ("Queued", 5)
    plan = decide(seen({"queuedSince": OLD}, queued=SECOND))
    assert (ready(plan).reason, plan.requeue_seconds) == ("QueueTimeout", 30)
    assert ready(plan).message.endswith(MESSAGE)
    assert plan.status.queue_position == 2, "tuning continues to wait"


def test_one_that_waits_for_the_bundle_of_another_or_for_the_store_is_not_in_the_queue() -> None:
    waiting = decide(seen(queued=SECOND)).status
    error = StoreUnavailableError("S3 does not answer")
    for plan in (
        decide(seen(waiting, queued=SECOND, rival=Rival("kc-older", runs=True))),
        decide(seen(waiting, queued=SECOND, store_error=error)),
        not_done(seen(waiting), decide(seen(waiting)), error),
        decide(seen(waiting, wanted_by=[], queued=SECOND)),
    ):
        assert plan.status.queue_position is None


def test_one_that_is_under_way_goes_on_whoever_waits() -> None:
    plan = decide(seen(UNDER_WAY, job=job(creationTimestamp=OLD), pods=[pod(), pod()], waited_for=True))
    assert (plan.actions, ready(plan).reason) == ((), "Tuning")


@pytest.mark.parametrize(("waited_for", "minutes", "deleted"), [(True, 11, True), (True, 9, False), (False, 11, False)])
def test_a_job_without_a_node_makes_room_for_those_that_wait(waited_for: bool, minutes: int, deleted: bool) -> None:
    pending = pod("waiting", "Pending", containerStatuses=[], conditions=[UNSCHEDULABLE])
    created = times.text(NOW - timedelta(minutes=minutes))
    status = {"state": "Pending", "job": "kc-1", "attempt": 1, "queuedSince": OLD}
    plan = decide(seen(status, job=job(creationTimestamp=created), pods=[pending, pending], waited_for=waited_for))
    assert (DeleteJob("kc-1", "job-uid") in plan.actions) is deleted
    if deleted:
        assert last_failure(plan) == "RanksNotScheduled"
        assert "no GPU is left" in ready(plan).message
        assert decide(seen(plan.status)).status.requeues == 1
