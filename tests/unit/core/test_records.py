"""Records survive encoding and decoding, and everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.objects import manifest
from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.job import JobSettings, Progress, RankResult
from tunecast_core.records.manifest import Archive, LayerProof, Manifest, Start
from tunecast_core.records.report import InitReport
from tunecast_core.trust.settings import StoreSettings, Trust

RECORDS = [Manifest, LayerProof, RankResult, JobSettings, Progress, Trust, InitReport]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@pytest.mark.parametrize("kind", [LayerProof, RankResult, Progress, Trust, InitReport])
def test_every_record_survives(kind: Any) -> None:
    st.register_type_strategy(float, st.floats(-float(2**62), float(2**62)))
    st.register_type_strategy(int, st.integers(1 - 2**63, 2**63 - 1))

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.from_type(kind))
    def check(record: Any) -> None:
        assert decode(kind, canonical(record), "it") == record

    check()


def test_a_manifest_survives() -> None:
    assert decode(Manifest, canonical(manifest("key")), "it") == manifest("key")


@given(st.sampled_from(RECORDS), st.binary(max_size=200))
def test_bytes_raise_only_our_error(kind: Any, data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(kind, data, "it")


@given(value=JSON)
def test_values_of_other_types_raise_only_our_error(value: Any) -> None:
    with pytest.raises(MalformedError):
        decode(Archive, canonical({"layer": value, "digest": "", "size": value, "unpacked": 0, "files": 0}), "it")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JSON"),
        (b"[" * 10_000, "no JSON"),
        (b"[]", "type dict"),
        (b"{}", "lacks the field bucket"),
        (b'{"bucket": 1}', "it.bucket should be of type str"),
        (b'{"bucket": "b", "prefix": null}', "it.prefix should be of type str"),
        (b" " * 101, "more than the 100"),
    ],
)
def test_errors_name_the_field(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        decode(StoreSettings, data, "it", limit=20_000 if data.startswith(b"[[") else 100)


@pytest.mark.parametrize(
    "value",
    ["1" + "0" * 400, "1" + "0" * 20, "1e300", "-9223372036854775808", "1e999", "NaN"],
    ids=lambda v: f"{v[:5]}-{len(v)}",
)
def test_numbers_that_the_api_server_cannot_store_are_refused(value: str) -> None:
    """The API server stores 64 bits, and floats and metrics overflow, so such a number would block its readers."""
    for field in ("seconds", "bytes"):
        data = {"stage": '"Joining"', "seconds": "1", "bytes": "1", field: value}
        text = ", ".join(f'"{name}": {item}' for name, item in data.items())
        with pytest.raises(MalformedError, match=field):
            decode(Progress, f"{{{text}}}".encode(), "it")


def test_an_integer_that_is_too_large_as_a_float_is_refused_where_a_float_should_be() -> None:
    data = b'{"stage": "Joining", "seconds": %d, "bytes": %d}' % (2**63 - 1, 2**63 - 1)
    with pytest.raises(MalformedError, match="seconds"):
        decode(Progress, data, "it")


@pytest.mark.parametrize(
    "data", [b'{"bucket": "\\ud800"}', b'{"bucket": "b", "endpoint": "\\udfff"}'], ids=["text", "optional text"]
)
def test_text_that_can_not_be_written_again_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="surrogate"):
        decode(StoreSettings, data, "it")


def test_names_that_can_not_be_written_again_are_refused() -> None:
    with pytest.raises(MalformedError, match="surrogate"):
        decode(Start, b'{"totalSeconds": 1, "phases": {"\\ud800": 1}}', "it")


def test_unknown_fields_are_ignored_and_missing_ones_have_defaults() -> None:
    assert decode(StoreSettings, b'{"bucket": "b", "later": 1}', "it") == StoreSettings("b")


def test_one_spelling() -> None:
    assert canonical({"b": (1, None), "a": "é"}) == '{"a":"é","b":[1,null]}'.encode()
