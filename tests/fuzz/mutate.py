"""Mutates JSON into other JSON, because randomly changed bytes seldom reach the checks of a field's type."""

from __future__ import annotations

import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**63, -(2**70), 0.5, float("nan"), float("inf"), "", "a", "..", "/", "\x00", "é" * 99,
    "Hit", "Proved", "k" * 52, [], {}, [[]], [{}], {"": 0}, ["x"] * 50,
)  # fmt: skip


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Returns a mutated JSON text, or ``data`` if it is not JSON; libFuzzer's own mutations are added."""
    chance = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(chance.randrange(1, 4)):
        value = _changed(value, chance)
    found = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    return found if len(found) <= longest else data


def _changed(value: Any, chance: random.Random) -> Any:
    """Descends to a random value, and changes it."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        return _changed_object(dict(value), chance)
    if isinstance(value, list) and value and chance.random() < 0.9:
        index = chance.randrange(len(value))
        changed = list(value)
        match chance.randrange(4):
            case 0:
                del changed[index]
            case 1:
                changed.insert(index, changed[index])
            case _:
                changed[index] = _changed(changed[index], chance)
        return changed
    return chance.choice(VALUES)


def _changed_object(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    name = chance.choice(sorted(value))
    match chance.randrange(6):
        case 0:
            del value[name]
        case 1:
            value[chance.choice(sorted(value))] = value[name]
        case 2:
            value[str(chance.choice(VALUES))] = value[name]
        case _:
            value[name] = _changed(value[name], chance)
    return value
