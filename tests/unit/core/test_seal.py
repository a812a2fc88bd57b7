"""Only a rank of the attempt can have sealed a record."""

from __future__ import annotations

import pytest

from tunecast_core.errors import MalformedError
from tunecast_core.records.seal import seal, unseal

SEALED = seal("token", "results/0.json", b"{}")


def test_what_was_sealed_is_read() -> None:
    assert unseal("token", "results/0.json", SEALED) == b"{}"


@pytest.mark.parametrize(
    ("token", "name", "data"),
    [
        ("other", "results/0.json", SEALED),
        ("token", "results/1.json", SEALED),
        ("token", "results/0.json", SEALED + b" "),
        ("token", "results/0.json", SEALED.replace(b"\n", b" ")),
        ("token", "results/0.json", SEALED[:-1]),
        ("token", "results/0.json", b"{}"),
        ("token", "results/0.json", b""),
    ],
)
def test_what_anybody_else_wrote_is_refused(token: str, name: str, data: bytes) -> None:
    with pytest.raises(MalformedError, match=name):
        unseal(token, name, data)
