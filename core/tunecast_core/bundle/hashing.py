"""Hashes bytes while somebody else looks at them, so that a large object is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from tunecast_core.errors import BundleError, MalformedError, TunecastError

Inspect = Callable[[Iterable[bytes]], None]


def exhaust(chunks: Iterable[object]) -> None:
    """Reads all of ``chunks``, and finds no fault with them."""
    for _ in chunks:
        pass


def hashed(chunks: Iterator[bytes], inspect: Inspect) -> tuple[str, TunecastError | None]:
    """SHA-256 in hex of all chunks, and the BundleError or MalformedError that ``inspect`` raises about them.

    All chunks are read, whatever ``inspect`` finds: an object with another digest is reported as such.
    """
    digest = hashlib.sha256()

    def passed() -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    seen, refused = passed(), None
    try:
        inspect(seen)
    except (BundleError, MalformedError) as error:
        refused = error
    exhaust(seen)
    return digest.hexdigest(), refused
