from datetime import timedelta
from typing import Any

import pytest

from support.objects import (
    NOW,
    engine_in,
    inference_deployment,
    key_in,
    pod_template,
    serving_pod,
    snapshot_of,
    spec_of,
)
from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator import times
from tunecast_operator.plan.crashes import crashes
from tunecast_operator.plan.inference_deployment import Observed, Plan, decide
from tunecast_operator.pods import init_report
from tunecast_operator.resources.init_container import ContainerSettings, InitContainer
from tunecast_operator.resources.quarantine import Case, Failure, Quarantine
from tunecast_operator.resources.revision import revision_of
from tunecast_operator.snapshot import cache_name

INIT = InitContainer("init:1")
PYCACHE: dict[str, Any] = {"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/pycache"}


def startup_cache(
    owner: dict[str, Any], state: str = "Pending", reason: str = "Queued", **status: Any
) -> dict[str, Any]:
    snapshot = snapshot_of(owner)
    ready = {"type": "Ready", "status": "True" if state == "Ready" else "False", "reason": reason, "message": "words"}
    return {
        "metadata": {"name": cache_name(snapshot), "namespace": "models"},
        "spec": snapshot,
        "status": {"state": state, "conditions": [ready], **status},
    }


def plan(
    owner: dict[str, Any],
    *caches: Any,
    live: Any = None,
    reports: Any = (),
    init: InitContainer = INIT,
    pods: Any = (),
) -> Plan:
    return decide(Observed(owner, spec_of(owner), engine_in(owner), live, caches, pods, reports, NOW), init, 1)


def lived(applied: Plan, replicas: int, **status: Any) -> dict[str, Any]:
    """The Deployment that a plan applied, as it is seen later."""
    assert applied.apply_deployment
    found = dict(applied.apply_deployment)
    found["spec"] = {**found["spec"], "replicas": replicas}
    found["metadata"] = {**found["metadata"], "generation": 1}
    up = {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": 1}
    return {**found, "status": {**up, **status}}


def condition(seen: Plan, kind: str) -> Any:
    return next(c for c in seen.conditions if c.type == kind)


OWNER = inference_deployment(replicas=2)


def test_tune_first_creates_the_cache_and_holds_the_replicas() -> None:
    first = plan(OWNER)
    assert first.create_caches
    assert first.apply_deployment is not None
    assert first.apply_deployment["spec"]["replicas"] == 0
    assert (condition(first, "Ready").reason, first.status["cache"]) == ("HeldForTuning", "Tuning")


def test_a_ready_cache_lets_them_go_warm() -> None:
    held = lived(plan(OWNER), 0)
    released = plan(OWNER, startup_cache(OWNER, "Ready", "Published", environment=PYCACHE), live=held)
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    engine = released.apply_deployment["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "PYTHONPYCACHEPREFIX", "value": PYCACHE["PYTHONPYCACHEPREFIX"]} in engine["env"]
    assert released.status["cache"] == "Hit"


@pytest.mark.parametrize(("state", "column"), [("Failed", "Failed"), ("Ineffective", "Cold")])
def test_tuning_that_gives_up_lets_them_go_cold(state: str, column: str) -> None:
    released = plan(OWNER, startup_cache(OWNER, state, "Why"), live=lived(plan(OWNER), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    assert (released.status["cache"], condition(released, "CacheReady").reason) == (column, "Why")


@pytest.mark.parametrize("reason", ["QueueTimeout", "TimedOut"])
def test_waiting_too_long_lets_them_go_cold(reason: str) -> None:
    released = plan(OWNER, startup_cache(OWNER, "Pending", reason), live=lived(plan(OWNER), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    assert released.status["cache"] == "Cold"


def serving(owner: dict[str, Any] = OWNER, **environment: str) -> dict[str, Any]:
    """A live Deployment of two replicas whose cache is ready."""
    cache = startup_cache(owner, "Ready", "Published", environment=environment)
    return lived(plan(owner, cache, live=lived(plan(owner), 0)), 2)


def test_a_change_of_replicas_or_of_a_label_tunes_nothing() -> None:
    for change in ({"replicas": 3}, {"replicas": 2, "template": pod_template(metadata={"labels": {"team": "a"}})}):
        changed = inference_deployment(**change)
        after = plan(changed, startup_cache(OWNER, "Ready", "Published"), live=serving())
        assert after.create_caches == ()
        assert after.apply_deployment is not None
        assert after.apply_deployment["spec"]["replicas"] == change["replicas"]


CHANGED = inference_deployment(replicas=3, template=pod_template("--max-model-len=8192"))


def test_a_change_of_the_key_tunes_while_the_old_template_serves_and_scales() -> None:
    during = plan(CHANGED, startup_cache(OWNER, "Ready", "Published"), live=serving())
    assert during.create_caches
    assert during.apply_deployment is None
    assert during.scale == 3
    assert condition(during, "Reconciling").status == "True"
    assert during.status["key"] != during.status["rendered"]["key"]


def test_then_the_new_one_rolls_out() -> None:
    caches = (
        startup_cache(OWNER, "Ready", "Published"),
        startup_cache(CHANGED, "Ready", "Published", environment=PYCACHE),
    )
    after = plan(CHANGED, *caches, live=serving())
    assert after.apply_deployment is not None
    assert after.status["rendered"]["environment"] == PYCACHE


def test_a_cache_that_is_tuned_again_never_holds_replicas_that_serve() -> None:
    after = plan(OWNER, startup_cache(OWNER, "Pending", "Queued"), live=serving())
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["replicas"] == 2


def test_serve_while_tuning_starts_cold_and_never_rolls_when_the_cache_comes() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "ServeWhileTuning"})
    first = plan(owner)
    assert first.apply_deployment is not None
    assert first.apply_deployment["spec"]["replicas"] == 1
    later = plan(owner, startup_cache(owner, "Ready", "Published", environment=PYCACHE), live=lived(first, 1))
    assert later.apply_deployment is not None
    assert later.apply_deployment["spec"]["template"] == first.apply_deployment["spec"]["template"]


LATER = InitContainer("init:2", "Always", ContainerSettings({"limits": {"cpu": "1"}}, {}, ({"name": "A"},)))


def test_an_operator_upgrade_or_other_chart_values_change_no_template_and_no_key() -> None:
    cache = startup_cache(OWNER, "Ready", "Published")
    upgraded = plan(OWNER, cache, live=serving(), init=LATER)
    assert upgraded.apply_deployment is not None
    assert upgraded.apply_deployment["spec"] == serving()["spec"]
    edited = inference_deployment(replicas=2, template=pod_template(metadata={"labels": {"team": "a"}}))
    revision = revision_of(plan(edited, cache, live=serving(), init=LATER).apply_deployment)
    assert revision is not None
    assert revision.init == LATER


def test_a_template_of_another_renderer_stays_and_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    live, cache = serving(), startup_cache(OWNER, "Ready", "Published")
    monkeypatch.setattr("tunecast_operator.plan.inference_deployment.RENDERER", 99)
    scaled = plan(inference_deployment(replicas=5), cache, live=live)
    assert (scaled.apply_deployment, scaled.scale) == (None, 5)


def test_without_replicas_the_live_value_is_kept_and_left_to_its_owner() -> None:
    owner = inference_deployment()
    cache = startup_cache(owner, "Ready", "Published")
    released = plan(owner, cache, live=lived(plan(owner), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 1
    live = lived(released, 5)
    live["metadata"]["managedFields"] = [{"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    scaled = plan(owner, cache, live=live).apply_deployment
    assert scaled is not None
    assert "replicas" not in scaled["spec"]


def test_what_is_under_way_has_its_reasons() -> None:
    """The words that docs/troubleshooting.md explains."""
    new = plan(OWNER)
    assert condition(new, "CacheReady").reason == "WaitingForCache"
    cache = startup_cache(OWNER, "Ready", "Published")
    up = plan(OWNER, cache, live=serving())
    assert [condition(up, kind).reason for kind in ("Ready", "Reconciling", "Stalled")] == [
        "ReplicasReady", "Idle", "Idle",
    ]  # fmt: skip
    starting = {**serving(), "status": {"replicas": 2, "readyReplicas": 1, "observedGeneration": 1}}
    rolling = plan(OWNER, cache, live=starting)
    assert [condition(rolling, kind).reason for kind in ("Ready", "Reconciling")] == ["ReplicasNotReady", "RollingOut"]


def test_never_makes_no_cache() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "Never"})
    seen = plan(owner)
    assert (seen.create_caches, seen.status["cache"]) == ((), "Cold")
    assert "startupCaches" not in seen.status


def started_cold_on(hardware: str, owner: dict[str, Any]) -> dict[str, Any]:
    """A serving pod on hardware without a bundle."""
    said = InitReport("Cold", "NoBundleForThisGPU", "", key_in(owner), hardware=hardware)
    pod = serving_pod("p", "", {})
    pod["metadata"]["labels"] = {"tunecast.io/key": key_in(owner)}
    pod["spec"] = {"nodeName": "n1"}
    ended = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    ended["message"] = canonical(said).decode()
    return pod


def test_hardware_that_replicas_start_cold_on_is_tuned_for_and_nothing_rolls() -> None:
    first = startup_cache(OWNER, "Ready", "Published", hardware="h100")
    seen = plan(OWNER, first, live=serving(), pods=[started_cold_on("l4", OWNER)])
    [(name, snapshot)] = seen.create_caches
    assert (snapshot["key"], snapshot["hardware"]) == (first["spec"]["key"], "l4")
    assert seen.status["startupCaches"] == [
        {"name": first["metadata"]["name"], "hardware": "h100", "state": "Ready"},
        {"name": name, "hardware": "l4", "state": "Pending"},
    ]
    assert condition(seen, "BundleMissing").reason == "TuningForHardware"
    assert condition(seen, "Ready").status == "True"
    assert seen.apply_deployment == plan(OWNER, first, live=serving()).apply_deployment

    other = {"metadata": {"name": name}, "spec": snapshot, "status": {"state": "Ready", "hardware": "l4"}}
    later = plan(OWNER, first, other, live=serving(), pods=[started_cold_on("l4", OWNER)])
    assert later.create_caches == ()
    assert [cache["state"] for cache in later.status["startupCaches"]] == ["Ready", "Ready"]
    assert "BundleMissing" not in {found.type for found in later.conditions}


def test_a_cache_for_other_hardware_is_never_taken_for_the_first_one() -> None:
    other = startup_cache(OWNER, "Ready", "Published", hardware="l4")
    other["metadata"]["name"], other["spec"]["hardware"] = "qwen3-8b-0123456789", "l4"
    assert [name for name, _ in plan(OWNER, other).create_caches] == [cache_name(snapshot_of(OWNER))]


def test_never_tunes_for_no_hardware() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "Never"})
    first = startup_cache(owner, "Ready", "Published", hardware="h100")
    seen = plan(owner, first, pods=[started_cold_on("l4", owner)])
    assert (seen.create_caches, "startupCaches" in seen.status) == ((), False)
    assert "BundleMissing" not in {found.type for found in seen.conditions}


def test_what_init_containers_said_is_counted() -> None:
    key = key_in(OWNER)
    hit = InitReport("Hit", "Installed", "", key)
    cold = InitReport("Cold", "StoreUnavailable", "no answer", key)
    cache = startup_cache(OWNER, "Ready", "Published")
    mixed = plan(OWNER, cache, live=serving(), reports=[(key, hit), (key, cold)])
    assert mixed.status["initReports"]["counts"] == [
        {"reason": "Installed", "count": 1},
        {"reason": "StoreUnavailable", "count": 1},
    ]
    assert "1 started warm, 1 cold (1 StoreUnavailable)" in condition(mixed, "Ready").message
    assert plan(OWNER, cache, live=serving(), reports=[(key, cold)]).status["cache"] == "Cold"


def test_ready_says_what_is_ready() -> None:
    cache = startup_cache(OWNER, "Ready", "Published")
    assert condition(plan(OWNER, cache, live=serving()), "Ready").status == "True"
    partial = {
        **serving(),
        "status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "observedGeneration": 1},
    }
    assert condition(plan(OWNER, cache, live=partial), "Ready").reason == "ReplicasNotReady"


OLD = {"replicas": 2, "updatedReplicas": 2, "observedGeneration": 1}


def unavailable(seconds: float) -> dict[str, Any]:
    since = times.text(NOW - timedelta(seconds=seconds))
    return {**OLD, "conditions": [{"type": "Available", "status": "False", "lastTransitionTime": since}]}


STARTING = serving_pod("qwen3-a", "m", {"state": {"running": {"startedAt": times.text(NOW)}}})
CRASHING = serving_pod("qwen3-a", "m", {"state": {"running": {"startedAt": times.text(NOW)}}, "restartCount": 1})
BLOCKED = serving_pod("qwen3-a", "m", {"state": {"waiting": {"reason": "ImagePullBackOff"}}})


@pytest.mark.parametrize(
    ("status", "pod", "kept", "again"),
    [
        ({**OLD, "readyReplicas": 1}, CRASHING, True, None),
        ({**unavailable(700), "readyReplicas": 1}, CRASHING, True, None),
        (unavailable(500), STARTING, True, 100.0),
        (unavailable(601), STARTING, False, None),
        (unavailable(100), CRASHING, True, 20.0),
        (unavailable(121), CRASHING, False, None),
        (unavailable(121), BLOCKED, False, None),
    ],
    ids=["serves", "serves with too few", "starts", "starts too long", "crashed", "crashes for long", "can't start"],
)
def test_an_old_revision_is_kept_only_while_it_serves(
    status: dict[str, Any], pod: dict[str, Any], kept: bool, again: float | None
) -> None:
    fixed = inference_deployment(replicas=2, template=pod_template("--max-model-len=8192"))
    during = plan(fixed, live={**serving(), "status": status}, pods=[pod])
    assert (during.apply_deployment is None, during.requeue_seconds) == (kept, again)


def test_a_held_deployment_that_an_administrator_scaled_keeps_its_replicas_and_its_template() -> None:
    """Where the spec says nothing of replicas, their number is whoever's who set it last."""
    owner = inference_deployment()
    held = plan(owner)
    scaled = lived(held, 3)
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    scaled["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": fields}]
    released = plan(owner, startup_cache(owner, "Tuning", "Tuning"), live=scaled)
    assert released.apply_deployment
    assert "replicas" not in released.apply_deployment["spec"]
    assert held.apply_deployment
    assert released.apply_deployment["spec"]["template"] == held.apply_deployment["spec"]["template"]
    assert released.status["desiredReplicas"] == 3


def test_a_held_deployment_that_an_administrator_scaled_serves_while_another_key_is_tuned() -> None:
    changed = inference_deployment(template=pod_template(image="vllm:v2"))
    assert plan(changed, live=lived(plan(inference_deployment()), 3)).apply_deployment is None


def test_clients_reach_the_old_revision_until_the_new_port_rolls_out() -> None:
    ports = [{"name": "api", "containerPort": 9000}]
    moved = inference_deployment(replicas=2, template=pod_template("--port=9000", "--dtype=half", ports=ports))
    during = plan(moved, live=serving())
    assert during.apply_deployment is None
    assert during.service["spec"]["ports"][0]["port"] == 8000
    after = plan(moved, startup_cache(moved, "Ready", "Published"), live=serving())
    assert [(p["port"], p["targetPort"]) for p in after.service["spec"]["ports"]] == [(9000, "api")]


@pytest.mark.parametrize("size", [0, 3])
def test_without_replicas_the_live_value_is_what_is_desired(size: int) -> None:
    owner = inference_deployment()
    cache = startup_cache(owner, "Ready", "Published")
    released = plan(owner, cache, live=lived(plan(owner), 0))
    assert released.status["desiredReplicas"] == 1
    scaled = plan(owner, cache, live=lived(released, size))
    assert (scaled.status["desiredReplicas"], condition(scaled, "Ready").status) == (size, "True")


def test_a_revision_that_is_about_to_be_applied_is_not_ready() -> None:
    """Else kubectl wait would return right after kubectl apply."""
    cache = startup_cache(OWNER, "Ready", "Published")
    edited = inference_deployment(replicas=2, template=pod_template(metadata={"annotations": {"team": "a"}}))
    before = plan(edited, cache, live=serving())
    assert [condition(before, kind).status for kind in ("Ready", "Reconciling")] == ["False", "True"]
    after = plan(edited, cache, live=lived(before, 2))
    assert [condition(after, kind).status for kind in ("Ready", "Reconciling")] == ["True", "False"]


CRASHED: dict[str, Any] = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    },
}
MANIFEST = "m" * 64


def judged(pods: list[Any], *others: Any, cache: Any = None, owner: Any = OWNER, **changes: Any) -> Plan:
    """The plan for ``pods``, where ``others`` are of the same key and of other InferenceDeployments."""
    for pod in (*pods, *others):
        pod["metadata"]["labels"] = {"tunecast.io/key": key_in(owner)}
    reports = [(key_in(owner), report) for pod in pods if (report := init_report(pod))]
    caches = [cache] if cache else []
    found = crashes([*pods, *others])
    seen_ = Observed(
        owner, spec_of(owner), engine_in(owner), serving(**PYCACHE), caches, pods, reports, NOW, found, **changes
    )
    return decide(seen_, INIT, 1)


def test_two_crashes_quarantine_a_bundle_and_nothing_rolls() -> None:
    """Also one of this owner's replica and one of another's; only its own are replaced."""
    cache = startup_cache(OWNER, "Ready", "Published", manifest=MANIFEST, environment=PYCACHE)
    pods = [
        serving_pod("a", MANIFEST, CRASHED),
        serving_pod("b", MANIFEST, {"ready": True}),
        serving_pod("c", "", CRASHED),
    ]
    after = judged(pods, serving_pod("other", MANIFEST, CRASHED), cache=cache)
    assert after.quarantine.digests == (MANIFEST,)
    assert after.outdated_caches == (cache["metadata"]["name"],)
    assert [crash.pod for crash in after.replace] == ["a"]
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["template"] == serving(**PYCACHE)["spec"]["template"]


def test_one_crash_quarantines_nothing() -> None:
    after = judged([serving_pod("a", MANIFEST, CRASHED)])
    assert (after.quarantine, after.replace) == (Quarantine(), ())


def test_a_quarantined_cache_is_told() -> None:
    cache = startup_cache(OWNER, "Quarantined", "Quarantined", manifest=MANIFEST)
    after = judged([], cache=cache, quarantine=Quarantine((MANIFEST,)))
    assert after.status["cache"] == "Cold"
    assert (condition(after, "CacheReady").reason, condition(after, "CacheReady").warning) == ("Quarantined", True)


def test_a_replica_without_the_bundle_that_crashes_the_same_way_lifts_it_and_stays() -> None:
    cache = startup_cache(OWNER, "Quarantined", "Quarantined", manifest=MANIFEST)
    known = Quarantine((MANIFEST,), {MANIFEST: Case("they crashed", (Failure(139),))})
    after = judged([serving_pod("a", MANIFEST, CRASHED, cold="Quarantined")], cache=cache, quarantine=known)
    assert after.quarantine.lifted(MANIFEST)
    assert after.outdated_caches == (cache["metadata"]["name"],)
    assert after.replace == ()


def test_a_bundle_that_no_startup_cache_stands_for_is_quarantined_and_told() -> None:
    """As with the policy Never, whose replicas take the bundle of their key, whoever had it tuned."""
    owner = inference_deployment(replicas=2, tuning={"policy": "Never"})
    pods = [serving_pod(name, MANIFEST, CRASHED) for name in ("a", "b")]
    after = judged(pods, owner=owner)
    assert [crash.pod for crash in after.replace] == ["a", "b"]
    told = condition(after, "CacheReady")
    assert (told.status, told.reason, told.warning) == ("False", "Quarantined", True)
    assert "spec.tuning.policy is Never" in told.message
    assert "a ended with 139; b ended with 139" in told.message
    cold = [serving_pod("c", MANIFEST, {"ready": True}, cold="Quarantined")]
    later = judged(cold, owner=owner, quarantine=after.quarantine)
    assert condition(later, "CacheReady") == told
    assert condition(judged([], owner=owner), "CacheReady").reason == "TuningDisabled"


def test_a_new_revision_of_a_quarantined_key_starts_cold_at_once() -> None:
    held = lived(plan(OWNER), 0)
    after = plan(OWNER, startup_cache(OWNER, "Quarantined", "Quarantined", manifest="m" * 64), live=held)
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["replicas"] == 1 or OWNER["spec"].get("replicas")
    assert after.status["rendered"]["environment"] == {}


def test_drift_is_counted_named_and_a_condition_only_while_it_lasts() -> None:
    image = {"imageID": "vllm@sha256:old"}
    cache = startup_cache(OWNER, "Ready", "Published", madeWith=image)
    pods = [serving_pod(name, "m" * 64, {"imageID": "vllm@sha256:new", "ready": True}) for name in ("a", "b")]
    for found in pods:
        found["metadata"]["labels"] = {"tunecast.io/key": key_in(OWNER)}
    after = decide(Observed(OWNER, spec_of(OWNER), engine_in(OWNER), serving(), [cache], pods, [], NOW), INIT, 1)
    assert after.status["drift"] == [
        {"what": "Image", "expected": "sha256:old", "found": "sha256:new", "replicas": 2},
    ]
    assert (condition(after, "Drifted").reason, condition(after, "Drifted").warning) == ("ImageDiffers", True)
    calm = decide(Observed(OWNER, spec_of(OWNER), engine_in(OWNER), serving(), [cache], [], [], NOW), INIT, 1)
    assert "drift" not in calm.status
    assert "Drifted" not in {found.type for found in calm.conditions}


@pytest.mark.parametrize("annotation", ["", "no json", '{"of": "an older operator"}'])
def test_a_deployment_whose_annotation_can_not_be_read_is_never_held_or_scaled(annotation: str) -> None:
    live = serving()
    live["metadata"]["annotations"] = {"tunecast.io/revision": annotation}
    after = plan(OWNER, startup_cache(OWNER), live=live)
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"].get("replicas", 2) == 2
