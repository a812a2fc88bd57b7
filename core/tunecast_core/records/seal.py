"""Seals records with a token of their attempt, so that only the ranks of the attempt can write valid records.

Other writers of the bucket can stage objects, and pods of other namespaces can reach the ranks' port.
"""

from __future__ import annotations

import hashlib
import hmac

from tunecast_core.errors import MalformedError

_LENGTH = hashlib.sha256().digest_size * 2


def seal(token: str, name: str, data: bytes) -> bytes:
    """Returns ``data`` behind an HMAC that is valid only for the record ``name`` of the token's attempt."""
    return _code(token, name, data) + b"\n" + data


def unseal(token: str, name: str, sealed: bytes) -> bytes:
    """Returns the sealed data. Raises MalformedError unless a holder of ``token`` sealed it as ``name``."""
    data = sealed[_LENGTH + 1 :]
    if not hmac.compare_digest(sealed, seal(token, name, data)):
        raise MalformedError(f"{name} was not written by a rank of this attempt")
    return data


def _code(token: str, name: str, data: bytes) -> bytes:
    return hmac.new(token.encode(), name.encode() + b"\0" + data, hashlib.sha256).hexdigest().encode()
