"""Which names of variables and fields say that the value is a secret: whole words of them, and not parts of words."""

from __future__ import annotations

import itertools
import re

# vLLM's users have TOKENIZER_MODE and MAX_NUM_BATCHED_TOKENS, so a word counts, and not the letters in it.
_SECRET = {
    "token", "secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey", "apikeys",
    "accesskey", "privatekey", "secretkey", "authtoken", "accesstoken",
}  # fmt: skip
_AT_THE_END = ("password", "passwd", "pass", "pwd", "pat")
_KEYS = {"api", "access", "private", "secret", "auth", "signing", "encryption", "account", "shared", "client"}
_OWNERS = {"api", "auth", "access", "bearer", "refresh", "session", "hub", "hf"}  # of tokens that aren't counted
# What a name ends with that says something about a secret, or about tokens of text.
_ABOUT = {
    "path", "file", "filename", "dir", "directory", "name", "url", "uri", "endpoint", "type", "mode", "format",
    "method", "algorithm", "class", "provider", "issuer", "header", "prefix", "timeout", "ttl", "expiry", "length",
    "len", "limit", "size", "count", "num", "number", "budget", "threshold", "max", "min", "ids", "parallelism",
    "enabled", "version",
}  # fmt: skip
# What a name ends with whose value is no secret, although it may come from a Secret beside one.
_PUBLIC = {
    "user", "username", "login", "email", "host", "hostname", "port", "endpoint", "url", "uri", "region", "zone",
    "bucket", "database", "name", "path",
}  # fmt: skip
_PLACES = {"PWD", "OLDPWD"}  # directories
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_USERINFO = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def names_secret(name: str) -> bool:
    """Whether a variable or a field of this name holds a secret: HF_TOKEN, hfToken and hf-token alike."""
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
    """Whether the value of a variable, or of a Secret's key, of this name is found in caches that hold no secret."""
    return _words(name)[-1:] != [] and _words(name)[-1] in _PUBLIC and not names_secret(name)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def holds_password(value: str) -> bool:
    """Whether a value is a URL with a password in it."""
    return bool(_USERINFO.search(value))
