"""Parses the flags of a vLLM server like vLLM's own parser. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tunecast_core.engine.flags import ALIASES, APPENDED, LISTS, NAMES, OPTIONAL, SWITCHES
from tunecast_core.errors import CommandLineError

NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_NEGATIONS = frozenset(f"--no-{flag[2:]}" for flag in SWITCHES)
_UNKNOWN = re.compile(r"\$\(([^()]*)\)")


def parse_flags(words: Sequence[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Returns the positional words, and the values of each flag by its full name.

    Raises:
        CommandLineError: a flag has no value, or its name is ambiguous.
    """
    positionals: list[str] = []
    options: dict[str, tuple[str, ...]] = {}
    words, dotted = _without_dotted(words)
    rest = _Words(words)
    for word in rest:
        if not _is_flag(word):
            positionals.append(known_value("an argument", word))
            continue
        name, equals, given = word.partition("=")
        flag, value = _resolved(name, given if equals else rest.value(name) if name == "-O" else None)
        if flag in LISTS:
            options[flag] = (value,) if value is not None else tuple(rest.values())
        elif flag in _NEGATIONS:
            options[_positive(flag)] = ("false",)
        elif flag in SWITCHES:
            options[flag] = ((value or rest.truth() or "true").lower(),)
        elif flag in OPTIONAL:
            options[flag] = (value if value is not None else rest.optional() or "",)
        elif flag in NAMES:
            text = value if value is not None else rest.value(flag)
            options[flag] = (*options.get(flag, ()), text) if flag in APPENDED else (text,)
        else:
            options[flag] = (value,) if value is not None else tuple(rest.guessed(flag))
    options |= {flag: (json.dumps(fields, sort_keys=True),) for flag, fields in dotted.items()}
    return positionals, options


def _without_dotted(words: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Removes dotted flags, which set parts of JSON, before other flags are parsed, as vLLM does.

    Therefore a list of words continues behind a dotted flag.
    """
    kept: list[str] = []
    dotted: dict[str, dict[str, Any]] = {}
    rest = _Words(words)
    for word in rest:
        name, equals, given = word.partition("=")
        if _is_flag(word) and "." in name:
            _merge(dotted, name, given if equals else rest.value(name))
        else:
            kept.append(word)
    return kept, dotted


class _Words:
    """The words of a command line, from which flags consume their values."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words, self._at = list(words), 0

    def __iter__(self) -> Iterator[str]:
        while self._at < len(self._words):
            self._at += 1
            yield self._words[self._at - 1]

    def value(self, flag: str) -> str:
        found = self.optional()
        if found is None:
            raise CommandLineError(f"{flag} has no value: write {flag}=VALUE")
        return found

    def optional(self) -> str | None:
        if self._at < len(self._words) and not _is_flag(self._words[self._at]):
            self._at += 1
            return self._words[self._at - 1]
        return None

    def values(self) -> list[str]:
        found = []
        while (value := self.optional()) is not None:
            found.append(value)
        return found

    def truth(self) -> str | None:
        """Consumes the value of a switch, true or false, which older versions accept. Leaves any other word."""
        following = self._words[self._at : self._at + 1]
        return self.optional() if following and following[0].lower() in {"true", "false"} else None

    def guessed(self, flag: str) -> list[str]:
        """Returns the words behind an unknown flag, of which at most one can be its value."""
        values = self.values()
        if len(values) > 1:
            raise CommandLineError(
                f"{flag} isn't known, and which of {' '.join(values)} is its value: use {flag}=VALUE"
            )
        return values


def _is_flag(word: str) -> bool:
    """Whether argparse treats the word as a flag."""
    return (
        len(word) > 1
        and word.startswith("-")
        and not NEGATIVE_NUMBER.fullmatch(word)
        and " " not in word.partition("=")[0]
    )


def _resolved(name: str, value: str | None) -> tuple[str, str | None]:
    """Resolves a name with underscores, a short form or an unambiguous prefix to the flag's full name."""
    if found := re.fullmatch(r"-O(.+)", name):
        return "--optimization-level", found[1]
    if name == "-O":
        return ("--compilation-config" if (value or "").lstrip().startswith("{") else "--optimization-level"), value
    if name.startswith("--"):
        name = "--" + name[2:].replace("_", "-")
    if name == "--config":
        raise CommandLineError("--config names a file that Tunecast can't read: write its settings as flags")
    if name in NAMES or name in _NEGATIONS:
        return name, value
    if name in ALIASES:
        return ALIASES[name], value
    candidates = {ALIASES.get(known, known) for known in (*NAMES, *_NEGATIONS, *ALIASES) if known.startswith(name)}
    if len(candidates) > 1:
        raise CommandLineError(f"{name} may be {' or '.join(sorted(candidates)[:4])}: write the flag out")
    return (candidates.pop() if candidates else name), value


def _positive(flag: str) -> str:
    return flag.replace("--no-", "--", 1) if flag.startswith("--no-") else flag


def _merge(dotted: dict[str, dict[str, Any]], name: str, text: str) -> None:
    """Merges a dotted flag such as ``--compilation-config.cache_dir /x`` into JSON that replaces the flag's value."""
    flag, *keys = name.split(".")
    flag = "--compilation-config" if flag == "-O" else _resolved(flag, None)[0]
    value: Any = text
    if keys[-1].endswith("+"):
        keys[-1], value = keys[-1][:-1], text.split(",")
    else:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
    fields = dotted.setdefault(flag, {})
    for key in keys[:-1]:
        inner = fields.setdefault(key, {})
        fields = inner if isinstance(inner, dict) else {}
    fields[keys[-1]] = value


def known_value(what: str, text: str) -> str:
    """Returns ``text`` if it holds no unknown variable.

    Raises:
        CommandLineError: ``text`` holds a ``$(NAME)`` without a value.
    """
    if found := _UNKNOWN.search(text):
        name = found[1]
        raise CommandLineError(
            f"{what} is {text!r}, and {name} has no value in the container's env: write it there as a value"
        )
    return text
