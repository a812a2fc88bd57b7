"""Hashes bytes while another function inspects them, so that a large object is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from tunecast_core.errors import BundleError, MalformedError, TunecastError

Inspect = Callable[[Iterable[bytes]], None]


def exhaust(chunks: Iterable[object]) -> None:
    """Reads all of ``chunks`` and discards them."""
    for _ in chunks:
        pass


def hashed(chunks: Iterator[bytes], inspect: Inspect) -> tuple[str, TunecastError | None]:
    """Returns the SHA-256 of all chunks in hex, and the BundleError or MalformedError that ``inspect`` raised.

    All chunks are read even if ``inspect`` fails, since a wrong digest takes precedence in reports.
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
