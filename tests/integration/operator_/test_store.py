"""How the operator handles a misconfigured or changing store."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.kubectl import Kubectl
from support.credentials import temporary_credentials
from support.driver import Driver
from support.faulty_s3 import Fault, FaultyS3, faulty, healthy
from support.objects import inference_deployment
from support.s3 import S3
from tunecast_core.records.codec import decode
from tunecast_core.records.job import PROGRESS, SETTINGS_FILE, JobSettings
from tunecast_core.store.presigned import put
from tunecast_operator import times
from tunecast_operator.conditions import ConditionType, find
from tunecast_operator.identity import CACHE_LABEL
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, JOB, SECRET, STARTUP_CACHE

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(s3_credentials: S3) -> Iterator[FaultyS3]:
    with faulty(s3_credentials.endpoint) as found:
        yield found


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3, proxy: FaultyS3, request: pytest.FixtureRequest) -> Driver:
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    kubernetes("create", "namespace", namespace)
    settings = replace(s3_credentials.settings(), endpoint=proxy.endpoint)
    return Driver(kubernetes.environment["KUBECONFIG"], settings, namespace)


def create(driver: Driver) -> None:
    owner = inference_deployment(replicas=2, tuning={"ranks": 2})
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)


def test_no_attempt_begins_while_uploads_would_be_refused(driver: Driver, proxy: FaultyS3) -> None:
    """Only uploads fail, as on AWS if the bucket is in another region than s3.region."""
    proxy.choose = lambda method, path: Fault.REDIRECT if method == "PUT" and "X-Amz-Signature=" in path else None
    create(driver)
    for _ in range(3):
        driver.step()
    [cache] = driver.caches()
    ready = find(cache["status"], ConditionType.READY)
    assert ready["reason"] == "StoreFailed"
    assert "set s3.region" in ready["message"]
    assert driver.plain.list(JOB, driver.namespace) == []
    proxy.choose = healthy
    driver.until(lambda: driver.deployment_status().get("cache") == "Hit", "it tunes once the store is correct")
    assert len(driver.plain.list(JOB, driver.namespace)) == 1


def test_events_about_a_cache_that_is_gone_list_no_more_than_it_staged(driver: Driver, proxy: FaultyS3) -> None:
    """Ranks may stage objects until their pods end."""
    driver.kubelet.running_only = True
    create(driver)
    driver.until(lambda: driver.caches("Tuning"), "ranks run")
    [cache] = driver.caches()
    [secret] = driver.plain.list(SECRET, driver.namespace, CACHE_LABEL)
    settings = decode(JobSettings, base64.b64decode(secret["data"][SETTINGS_FILE]), "settings")
    driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"])
    listed: list[str] = []

    def record(_method: str, path: str) -> None:
        listed.extend(parse_qs(urlsplit(path).query).get("prefix", ()))

    proxy.choose = record
    for _ in range(5):
        put(settings.uploads[PROGRESS], io.BytesIO(b"{}"), 2)
        driver.look_at(driver._caches.reconcile, cache["metadata"]["name"])
        assert driver.store.staged_attempts(driver.namespace) == []
    whole = f"v1/{driver.namespace}/staging/"
    ours = [prefix for prefix in listed if prefix != whole]
    assert listed.count(whole) == 5 + 1, "this test's own, and one of the operator"
    assert all(prefix.startswith(f"{whole}{settings.key}/{cache['metadata']['uid']}-") for prefix in ours)


def test_urls_are_renewed_by_what_the_credentials_have_left(
    driver: Driver, s3_credentials: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary_credentials(s3_credentials, tmp_path, monkeypatch).live(960)
    driver.kubelet.running_only = True
    create(driver)
    driver.until(lambda: driver.caches("Tuning"), "ranks run")
    first, due = urls(driver), renewal(driver)
    assert 250 < (due - driver.now).total_seconds() <= 320
    while driver.now < due:
        assert urls(driver) == first
        driver.step()
    driver.until(lambda: urls(driver) != first, "its URLs are renewed")
    assert renewal(driver) > due
    driver.kubelet.running_only = False
    driver.until(lambda: driver.deployment_status().get("cache") == "Hit", "ranks stage by renewed URLs")


def urls(driver: Driver) -> str:
    [secret] = driver.plain.list(SECRET, driver.namespace, CACHE_LABEL)
    return str(secret["data"])


def renewal(driver: Driver) -> datetime:
    [cache] = driver.caches()
    return times.parse(cache["status"]["settingsRenewAt"])
