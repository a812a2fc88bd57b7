"""Records that only who holds their attempt's settings can have written, whoever else can write to the same place.

The bucket's other writers can put objects into staging, and pods of other namespaces can reach the ranks' port.
"""

from __future__ import annotations

import hashlib
import hmac

from tunecast_core.errors import MalformedError

_LENGTH = hashlib.sha256().digest_size * 2


def seal(token: str, name: str, data: bytes) -> bytes:
    """``data`` behind a code that is good for the record ``name`` of the attempt of ``token`` alone."""
    return _code(token, name, data) + b"\n" + data


def unseal(token: str, name: str, sealed: bytes) -> bytes:
    """Raises MalformedError unless a holder of ``token`` sealed it, as ``name``."""
    data = sealed[_LENGTH + 1 :]
    if not hmac.compare_digest(sealed, seal(token, name, data)):
        raise MalformedError(f"{name} was not written by a rank of this attempt")
    return data


def _code(token: str, name: str, data: bytes) -> bytes:
    return hmac.new(token.encode(), name.encode() + b"\0" + data, hashlib.sha256).hexdigest().encode()
