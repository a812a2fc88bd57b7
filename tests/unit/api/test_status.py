"""How the statuses of our own kinds are read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.objects import manifest
from support.observed import KEY, kept, seen
from tunecast_core.records.manifest import LayerNote
from tunecast_operator.api.startup_cache import startup_cache
from tunecast_operator.api.status import StartupCacheStatus, State, read_status, status_object
from tunecast_operator.plan.startup_cache import decide
from tunecast_operator.plan.tuning import Published

PUBLISHED = Published(manifest(KEY, notes=(LayerNote("TorchCompile", "Cached"),)), "digest", "signer")
READY = kept(decide(seen(published=PUBLISHED)))


def item(status: dict[str, Any] | None) -> dict[str, Any]:
    metadata = {"name": "qwen3-0123456789", "namespace": "models"}
    return {"kind": "StartupCache", "metadata": metadata, "spec": {"key": KEY}, "status": status}


def round_trip(status: dict[str, Any]) -> dict[str, Any]:
    return status_object(read_status(StartupCacheStatus, item(status)))


def test_a_status_that_was_read_is_written_back_unchanged() -> None:
    as_server_returns_it = json.loads(json.dumps(READY).replace(".0,", ",").replace(".0}", "}"))
    assert isinstance(as_server_returns_it["proof"]["cold"]["totalSeconds"], int)
    assert round_trip(as_server_returns_it) == READY


def test_fields_of_a_newer_version_are_written_back() -> None:
    newer = {"state": "Tuning", "shards": 2, "madeWith": {"gpu": "H100", "fabric": "NVLink"}}
    assert round_trip(newer) == newer
    changed = read_status(StartupCacheStatus, item(newer)) | StartupCacheStatus(state=State.READY)
    assert status_object(changed) == {**newer, "state": "Ready"}


def test_a_field_in_another_form_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert round_trip({"state": "Melting", "progress": {"stage": 1}, "attempt": 2}) == {"attempt": 2}
    [record] = caplog.records
    assert "StartupCache models/qwen3-0123456789" in record.getMessage()
    assert "progress, state" in record.getMessage()


def test_none_removes_a_field_and_what_is_not_named_stays() -> None:
    status = StartupCacheStatus(state=State.READY, job="kc-1", referred_by=[]) | StartupCacheStatus(job=None)
    assert status_object(status) == {"state": "Ready", "referredBy": []}


@pytest.mark.parametrize("status", [None, {}])
def test_an_object_without_a_status_has_not_been_written(status: dict[str, Any] | None) -> None:
    assert not startup_cache(item(status)).status.written
    assert startup_cache(item({"referredBy": []})).status.written
