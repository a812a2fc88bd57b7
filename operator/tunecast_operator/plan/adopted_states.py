"""How adopted pods started, or why they start cold, in one word each."""

from __future__ import annotations

from enum import StrEnum

from tunecast_core.records.report import InitReport


class AdoptedState(StrEnum):
    """States of adopted pods."""

    HIT = "Hit"  # it started from a bundle
    COLD = "Cold"  # it started without a bundle
    PENDING = "Pending"  # its init container hasn't reported yet
    NOT_INJECTED = "NotInjected"  # it was created without the init container
    REFUSED = "Refused"  # it can't be described, and so can't be adopted
    TUNING_DISABLED = "TuningDisabled"  # no StartupCache has its key, and its settings turn tuning off


def adopted_state(*, described: bool, injected: bool, tuned_for: bool, report: InitReport | None) -> AdoptedState:
    """Returns the state of an adopted pod.

    Args:
        described: whether it has a key.
        injected: whether the webhook injected the init container.
        tuned_for: whether a StartupCache has its key, or one would be created.
        report: report of its init container.
    """
    if not described:
        return AdoptedState.REFUSED
    if not injected:
        return AdoptedState.NOT_INJECTED
    if report and report.result == "Hit":
        return AdoptedState.HIT
    if not tuned_for:
        return AdoptedState.TUNING_DISABLED
    return AdoptedState.COLD if report else AdoptedState.PENDING
