"""Splits a secret into the parts that files and texts are searched for: the whole, its lines, and values in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tunecast_core.trust.secret_names import names_secret

SHORTEST = 6  # bytes; shorter values occur everywhere
MOST_LINES = 1000  # lines of one secret that are read; private keys and credentials have fewer
_CERTIFICATE = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE|PUBLIC KEY)-----[^-]*-----END \1-----")
_MARKER = re.compile(rb"-----(BEGIN|END) [A-Z0-9 ]+-----|\[[\w .-]*\]")  # line of a PEM block, or an INI section
_NUMBER = re.compile(rb"[-+]?\d{1,9}(\.\d*)?")  # numbers with more digits can be secrets
_COMMON = {
    b"default", b"enable", b"enabled", b"disable", b"disabled", b"undefined", b"required", b"optional", b"localhost",
    b"127.0.0.1", b"0.0.0.0", b"production", b"staging", b"development", b"latest", b"stable", b"bearer",
    b"service_account",
}  # fmt: skip
_WORDS = re.compile(rb"[^\s=:,;\"'<>{}()\[\]]+")
_KEY = re.compile(rb"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[\w+-][\w+/-]{19,}|[0-9a-f-]{32,}")  # looks random
_PUBLIC = re.compile(rb"[a-z]{2}(-[a-z]+){1,3}-\d|[a-z]+://[\w.:-]+/?")  # a cloud region, or a URL without a path


def parts(value: bytes) -> set[bytes]:
    """Returns the parts of a secret that may appear on their own, each also escaped as in JSON.

    Parts shorter than SHORTEST and certificates, which are public, are left out. A JSON document is split into its
    values instead of its lines.
    """
    found = {part for part in _parts(_CERTIFICATE.sub(b"", value)) if len(part) >= SHORTEST}
    return found | {json.dumps(part.decode(errors="replace"))[1:-1].encode() for part in found}


def distinct(value: bytes) -> set[bytes]:
    """Returns the parts of a secret that don't occur without it: no small numbers, common words or PEM markers."""
    return {part for part in parts(value.strip()) if not (_MARKER.fullmatch(part) or _common(part))}


def _common(part: bytes) -> bool:
    return bool(_NUMBER.fullmatch(part) or _PUBLIC.fullmatch(part)) or part.lower() in _COMMON


def _parts(value: bytes) -> Iterator[bytes]:
    yield value
    yield value.strip()
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, (dict, list)):
        yield from _of_json(fields, secret=False)
        return
    for line in value.splitlines()[:MOST_LINES]:
        yield line.strip()
        yield from _of_line(line)


def _of_line(line: bytes) -> Iterator[bytes]:
    """Yields the words of a line that look like keys, or that follow the name of a secret (INI, .env, .netrc)."""
    before = b""
    for word in _WORDS.findall(line):
        if _KEY.fullmatch(word) or names_secret(before.decode(errors="replace")):
            yield word
        before = word


def _of_json(value: Any, *, secret: bool) -> Iterator[bytes]:
    """Yields the strings of a JSON value that look like keys, or that belong to the name of a secret."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _of_json(item, secret=secret or names_secret(name))
    elif isinstance(value, list):
        for item in value:
            yield from _of_json(item, secret=secret)
    elif isinstance(value, str):
        text = value.encode(errors="replace")
        if secret:
            yield from (text, *(line.strip() for line in text.splitlines()[:MOST_LINES]))
        elif _KEY.fullmatch(text):
            yield text
