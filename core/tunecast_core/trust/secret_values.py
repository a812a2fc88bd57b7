"""What of a secret is looked for in files and texts: the whole of it, its lines, and the values within them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tunecast_core.trust.secret_names import names_secret

SHORTEST = 6  # bytes: shorter values are found everywhere
MOST_LINES = 1000  # of one secret: private keys and credentials have fewer
_CERTIFICATE = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE|PUBLIC KEY)-----[^-]*-----END \1-----")
_MARKER = re.compile(rb"-----(BEGIN|END) [A-Z0-9 ]+-----|\[[\w .-]*\]")  # of a PEM block, or of an INI section
_NUMBER = re.compile(rb"[-+]?\d{1,9}(\.\d*)?")  # more digits than that can be a secret
_COMMON = {
    b"default", b"enable", b"enabled", b"disable", b"disabled", b"undefined", b"required", b"optional", b"localhost",
    b"127.0.0.1", b"0.0.0.0", b"production", b"staging", b"development", b"latest", b"stable", b"bearer",
    b"service_account",
}  # fmt: skip
_WORDS = re.compile(rb"[^\s=:,;\"'<>{}()\[\]]+")
_KEY = re.compile(rb"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[\w+-][\w+/-]{19,}|[0-9a-f-]{32,}")  # what is drawn at random
_PUBLIC = re.compile(rb"[a-z]{2}(-[a-z]+){1,3}-\d|[a-z]+://[\w.:-]+/?")  # a region of a cloud, a URL without a path


def parts(value: bytes) -> set[bytes]:
    """All that of a secret may be told or written by itself, in JSON's spelling too; nothing shorter than SHORTEST.

    A file's certificates are public, so they are no part of it. Of JSON, values are parts and not lines.
    """
    found = {part for part in _parts(_CERTIFICATE.sub(b"", value)) if len(part) >= SHORTEST}
    return found | {json.dumps(part.decode(errors="replace"))[1:-1].encode() for part in found}


def distinct(value: bytes) -> set[bytes]:
    """Its parts without those that are found where the secret isn't: small numbers, common words, frames of keys."""
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
    """What an assignment gives to a secret's name (INI files, .env, .netrc), and what looks like a key."""
    before = b""
    for word in _WORDS.findall(line):
        if _KEY.fullmatch(word) or names_secret(before.decode(errors="replace")):
            yield word
        before = word


def _of_json(value: Any, *, secret: bool) -> Iterator[bytes]:
    """Values of secrets' names, and what looks like a key."""
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
