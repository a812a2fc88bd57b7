"""Compares live objects with desired ones, so that nothing is written when nothing changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

_EMPTY: tuple[Any, ...] = (None, "", [], {}, False, 0)


def matches(desired: Any, live: Any) -> bool:
    """Whether every field of ``desired`` is in ``live``; fields that only ``live`` has are its defaults."""
    if isinstance(desired, dict):
        return isinstance(live, (dict, type(None))) and all(_same(v, (live or {}).get(k)) for k, v in desired.items())
    if isinstance(desired, list):
        same_length = isinstance(live, list) and len(desired) == len(live)
        return same_length and all(_same(want, have) for want, have in zip(desired, live, strict=True))
    return bool(desired == live) or _same_quantity(desired, live)


def _same(desired: Any, live: Any) -> bool:
    return (live is None and desired in _EMPTY) or matches(desired, live)


def _same_quantity(desired: Any, live: Any) -> bool:
    """Whether two quantities are equal: the API server rewrites "1000m" as "1"."""
    first, second = _quantity(desired), _quantity(live)
    return first is not None and first == second


def _quantity(value: Any) -> Decimal | None:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    try:
        return Decimal(parse_quantity(value))
    except (ValueError, ArithmeticError):
        return None
