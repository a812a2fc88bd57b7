"""Recognises names of variables and fields whose values are secrets, by whole words in the names."""

from __future__ import annotations

import itertools
import re

# Words are compared as a whole: TOKENIZER_MODE and MAX_NUM_BATCHED_TOKENS hold no secret.
_SECRET = {
    "token", "secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey", "apikeys",
    "accesskey", "privatekey", "secretkey", "authtoken", "accesstoken",
}  # fmt: skip
_AT_THE_END = ("password", "passwd", "pass", "pwd", "pat")
_KEYS = {"api", "access", "private", "secret", "auth", "signing", "encryption", "account", "shared", "client"}
_OWNERS = {"api", "auth", "access", "bearer", "refresh", "session", "hub", "hf"}  # "tokens" behind these are secrets
# Last words of names that describe a secret, or that count tokens of text.
_ABOUT = {
    "path", "file", "filename", "dir", "directory", "name", "url", "uri", "endpoint", "type", "mode", "format",
    "method", "algorithm", "class", "provider", "issuer", "header", "prefix", "timeout", "ttl", "expiry", "length",
    "len", "limit", "size", "count", "num", "number", "budget", "threshold", "max", "min", "ids", "parallelism",
    "enabled", "version",
}  # fmt: skip
# Last words of names whose values are public, although they may be stored in a Secret.
_PUBLIC = {
    "user", "username", "login", "email", "host", "hostname", "port", "endpoint", "url", "uri", "region", "zone",
    "bucket", "database", "name", "path",
}  # fmt: skip
_PLACES = {"PWD", "OLDPWD"}  # directories
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_USERINFO = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def names_secret(name: str) -> bool:
    """Whether a variable or a field of this name holds a secret. HF_TOKEN, hfToken and hf-token are equivalent."""
    words = _words(name)
    if not words or name in _PLACES or words[-1] in _ABOUT or words[-2:] == ["token", "id"]:
        return False
    pairs = [*itertools.pairwise(words)]
    return (
        not _SECRET.isdisjoint(words)
        or words[-1] in _AT_THE_END
        or words[-1].endswith(_AT_THE_END[:2])  # PGPASSWORD
        or any(second in {"key", "keys"} and first in _KEYS for first, second in pairs)
        or any(second == "tokens" and first in _OWNERS for first, second in pairs)
    )


def names_public(name: str) -> bool:
    """Whether a variable, or a key of a Secret, of this name holds a public value, which caches may contain."""
    return _words(name)[-1:] != [] and _words(name)[-1] in _PUBLIC and not names_secret(name)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def holds_password(value: str) -> bool:
    """Whether a value is a URL with a password in it."""
    return bool(_USERINFO.search(value))
