"""Expands ``$(NAME)`` in a container's command, args and env, as the kubelet does. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_core.engine.shell import check_expanded, unknown

_VARIABLE = re.compile(r"\$(?:\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


def variables(entries: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """Returns a container's ``env`` by name. The last entry of a name counts. A value from a reference is None.

    Raises:
        CommandLineError: the values expand to more than the limit on their total size.
    """
    found: dict[str, str | None] = {}
    total = 0
    for entry in entries:
        value = entry.get("value", None if entry.get("valueFrom") else "")
        expanded = None if value is None else expand(str(value), found)
        total += len(expanded or "")
        check_expanded(total)
        found[str(entry.get("name"))] = expanded
    return found


def expand(text: str, environment: Mapping[str, str | None]) -> str:
    """Expands ``$(NAME)`` as the kubelet does. Unknown variables stay as they are, and ``$$`` is a dollar sign.

    Raises:
        CommandLineError: the variables expand to more than the limit on their total size.
    """
    total = 0

    def value(match: re.Match[str]) -> str:
        nonlocal total
        if match[1] is None:
            return "$"
        known = environment.get(match[1])
        found = unknown(match[1]) if known is None else known
        total += len(found)
        check_expanded(total)
        return found

    return _VARIABLE.sub(value, text)


def expand_all(words: Sequence[str], environment: Mapping[str, str | None]) -> list[str]:
    """Expands each word.

    Raises:
        CommandLineError: the words expand to more than the limit on their total size.
    """
    found: list[str] = []
    total = 0
    for word in words:
        found.append(expand(word, environment))
        total += len(found[-1])
        check_expanded(total)
    return found
