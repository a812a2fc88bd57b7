"""Formats and parses times as Kubernetes does: RFC 3339 in UTC, to the second."""

from __future__ import annotations

from datetime import datetime, timezone


def text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(value: str) -> datetime:
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def seconds_since(value: str | None, now: datetime) -> float:
    """Returns the seconds from ``value`` to ``now``; 0 if ``value`` is absent."""
    return (now - parse(value)).total_seconds() if value else 0.0
