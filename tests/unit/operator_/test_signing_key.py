"""Which signatures count, by the contents of the Secret."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from tunecast_core.trust.signing import Signer
from tunecast_operator.runtime.cluster import Cluster
from tunecast_operator.runtime.signing_key import SigningKeyError, load_keys

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


class Secrets:
    """A cluster with one Secret or none."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.found: Any = None if data is None else {"data": data}

    def get(self, *_: Any) -> Any:
        return self.found

    def create(self, _kind: Any, item: Any) -> bool:
        self.found = item
        return True


def load(data: dict[str, str] | None) -> Any:
    return load_keys(cast("Cluster", Secrets(data)), "tunecast-system", "key")


def test_the_first_operator_makes_one() -> None:
    keys = load(None)
    assert keys.trusted == {keys.signer.signer: keys.signer.public_key}


@pytest.mark.parametrize(
    "other",
    [
        {"previous.key": encoded(OLD)},
        {"lost.pub": encoded(Signer(OLD).public_key.encode())},
        {"lost.pub": encoded(f"{Signer(OLD).public_key}\n".encode()), "note": encoded(b"no key")},
    ],
)
def test_one_signs_and_others_count_too(other: dict[str, str]) -> None:
    keys = load({"ed25519.key": encoded(NEW), **other})
    assert keys.signer.signer == Signer(NEW).signer
    assert keys.trusted == {signer.signer: signer.public_key for signer in (Signer(NEW), Signer(OLD))}
    assert [signer.signer for signer in keys.former] == [Signer(OLD).signer for entry in other if entry[-4:] == ".key"]


@pytest.mark.parametrize(
    ("data", "entry"),
    [
        ({}, "ed25519.key"),
        ({"ed25519.key": encoded(b"short")}, "ed25519.key"),
        ({"ed25519.key": "%"}, "ed25519.key"),
        ({"ed25519.key": encoded(NEW), "old.key": encoded(b"short")}, "old.key"),
        ({"ed25519.key": encoded(NEW), "old.pub": encoded(OLD)}, "old.pub"),
        ({"ed25519.key": encoded(NEW), "old.pub": encoded(encoded(b"short").encode())}, "old.pub"),
    ],
)
def test_an_entry_that_holds_no_key_is_named(data: dict[str, str], entry: str) -> None:
    with pytest.raises(SigningKeyError, match=f"Secret tunecast-system/key, {entry}: ") as raised:
        load(data)
    assert raised.value.reason == "BadSigningKey"
