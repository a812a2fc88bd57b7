"""What the engine's command line says. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmgKMG]?)")


def option(command: Sequence[str], name: str) -> str | None:
    """The last value given to ``name``, as ``--name=value`` or ``--name value``; dashes and underscores are alike."""
    value = None
    for word, following in itertools.zip_longest(command, command[1:], fillvalue=""):
        flag, equals, given = word.partition("=")
        if flag.startswith("--") and "--" + flag[2:].replace("_", "-") == name:
            value = given if equals else following
    return value


def number(command: Sequence[str], name: str) -> int | None:
    """The same as a positive integer; vLLM's ``8k`` (thousands) and ``8K`` (1024s) are understood, ``auto`` is None."""
    found = _NUMBER.fullmatch(option(command, name) or "")
    if not found:
        return None
    return int(float(found[1]) * _UNITS[found[2]]) or None
