"""When a bundle is quarantined and released, and how both are stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tunecast_core.trust.settings import StoreSettings, Trust
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import StartupCacheStatus, State
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.plan.quarantine import LIFTS, judge, outdated, restored
from tunecast_operator.resources.quarantine import CASES, Case, Failure, Quarantine, quarantine_in
from tunecast_operator.resources.trust import trust_config_map

SEGFAULT, ABORT = Failure(139), Failure(134)
BUNDLE, OTHER = "b" * 64, "o" * 64
WARM = Crash("warm-1", "uid-1", BUNDLE, 1, SEGFAULT)
TWICE = replace(WARM, times=2)
COLD = Crash("cold-1", "uid-3", BUNDLE, 1, SEGFAULT, cold=True)
QUARANTINED = judge(Quarantine(), [TWICE])
LIFTED = judge(QUARANTINED, [COLD])


@pytest.mark.parametrize(
    ("crashes", "blamed"),
    [
        ([], False),
        ([WARM], False),
        ([TWICE], True),
        ([WARM, replace(WARM, pod="warm-2", failure=ABORT)], True),
        ([WARM, replace(WARM, pod="warm-2", manifest=OTHER)], False),
        ([replace(COLD, times=9)], False),
        ([WARM, COLD], False),
    ],
)
def test_two_crashes_from_one_bundle_quarantine_it(crashes: list[Crash], blamed: bool) -> None:
    found = judge(Quarantine(), crashes)
    assert found.digests == ((BUNDLE,) if blamed else ())
    assert ("warm-1 ended with 139" in found.message(BUNDLE)) == blamed
    assert judge(found, crashes) == found


def test_the_same_crash_without_the_bundle_lifts_the_quarantine() -> None:
    assert (LIFTED.digests, LIFTED.lifted(BUNDLE), QUARANTINED.lifted(BUNDLE)) == ((), True, False)
    assert LIFTED.message(BUNDLE) == "cold-1 ended with 139, and had started without the bundle"
    assert judge(LIFTED, [COLD]) == LIFTED


@pytest.mark.parametrize("crash", [replace(COLD, failure=ABORT), replace(COLD, manifest=OTHER), TWICE])
def test_another_crash_lifts_nothing(crash: Crash) -> None:
    assert BUNDLE in judge(QUARANTINED, [crash]).digests


def test_a_bundle_that_was_cleared_is_not_quarantined_again_by_the_same_crashes() -> None:
    assert judge(LIFTED, [replace(TWICE, times=9), COLD]) == LIFTED
    again = judge(LIFTED, [replace(TWICE, failure=ABORT)])
    assert again.digests == (BUNDLE,)
    assert judge(again, [COLD]) == again, "a crash that is known does not lift it"
    assert judge(again, [replace(COLD, failure=ABORT)]).cases[BUNDLE].cleared == (SEGFAULT, ABORT)


def test_a_bundle_that_was_cleared_often_enough_is_not_quarantined_any_more() -> None:
    found, codes = Quarantine(), range(1, 20)
    for code in codes:
        found = judge(judge(found, [replace(TWICE, failure=Failure(code))]), [replace(COLD, failure=Failure(code))])
    assert found.cases[BUNDLE].cleared == tuple(Failure(code) for code in codes[:LIFTS])


def test_a_digest_that_an_administrator_added_stays() -> None:
    """It stays even after a lifted quarantine, so that administrators can refuse a bundle permanently."""
    for known in (Quarantine((BUNDLE,)), LIFTED.also([BUNDLE])):
        assert judge(known, [COLD, TWICE]) == known


def test_the_config_map_brings_back_what_was_written() -> None:
    for known in (Quarantine(), QUARANTINED, LIFTED, Quarantine((BUNDLE, OTHER))):
        assert quarantine_in(config_map(known)) == known
    assert CASES not in config_map(Quarantine((BUNDLE,)))["data"]


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"b": 1}', '{"b": {"message": 1}}'])
def test_cases_that_can_not_be_read_count_as_none(text: str) -> None:
    found = config_map(QUARANTINED)
    found["data"][CASES] = text
    assert quarantine_in(found) == Quarantine((BUNDLE,))
    assert quarantine_in(None) == Quarantine()


def test_a_digest_that_somebody_removed_stays_while_its_case_is_open() -> None:
    for known, kept in ((QUARANTINED, (BUNDLE,)), (LIFTED, ())):
        found = config_map(known)
        found["data"]["trust.json"] = json.dumps({**json.loads(found["data"]["trust.json"]), "quarantined": []})
        assert quarantine_in(found).digests == kept


def cache(state: str | None, manifest: str | None = BUNDLE) -> StartupCache:
    status = StartupCacheStatus(state=State(state) if state else None, manifest=manifest)
    return StartupCache(f"{state}-{(manifest or '')[:1]}", "key", "", deleting=False, status=status)


def test_an_emptied_config_map_is_restored_from_startup_caches_but_no_lifted_quarantine_is() -> None:
    assert restored(Quarantine(), [cache("Quarantined"), cache("Ready", OTHER)]).digests == (BUNDLE,)
    assert restored(LIFTED, [cache("Quarantined")]).digests == ()
    assert restored(Quarantine((OTHER,)), [cache("Quarantined", None), cache(None, None)]).digests == (OTHER,)


def test_startup_caches_with_another_quarantine_are_outdated() -> None:
    caches = [cache(state, digest) for state in ("Ready", "Quarantined", "Failed") for digest in (BUNDLE, OTHER)]
    assert outdated(QUARANTINED, caches) == ("Ready-b", "Quarantined-o")
    assert outdated(LIFTED, caches[:3]) == ("Quarantined-b",)


def config_map(quarantine: Quarantine) -> dict[str, Any]:
    trust = Trust(StoreSettings("bucket"), {}, quarantine.digests)
    return trust_config_map("models", trust, quarantine.cases)


def test_a_case_is_a_plain_record() -> None:
    assert json.loads(config_map(QUARANTINED)["data"][CASES]) == {
        BUNDLE: {
            "message": "engines crashed as they started from this bundle: warm-1 ended with 139, 2 times",
            "blamed": [{"exitCode": 139, "error": ""}],
            "cleared": [],
        }
    }
    assert Case("x") == Case("x", (), ())
