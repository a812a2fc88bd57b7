"""Golden keys: a changed key would make every published bundle unreachable."""

from __future__ import annotations

import pytest

from tunecast_core.key import compute_key

GOLDEN = [
    (
        {},
        "cz2pkwnudsf74ublgy4hylcl7dzok7bnfdaloaqppan6lsyk3roq",
    ),
    (
        {"image": "vllm:v1", "args": ["--a=1"], "env": {"A": "1"}},
        "gddenkddkzhmie35u43tkhegrjo6utf72z6c57rdbardiobch7cq",
    ),
    (
        {"model": "modèle", "parallelism": {"tensor": 2}, "gpu": None},
        "dte6hpp5qwicuvunlvtjwvm5lcnvc5tv2virrzlrcfvdtrhcxhdq",
    ),
]


@pytest.mark.parametrize(("inputs", "key"), GOLDEN)
def test_golden_keys(inputs: dict[str, object], key: str) -> None:
    assert compute_key(inputs, version=1) == key


def test_order_does_not_matter_and_values_do() -> None:
    assert compute_key({"a": 1, "b": 2}) == compute_key({"b": 2, "a": 1})
    assert compute_key({"a": 1}) != compute_key({"a": 2})
    assert compute_key({"a": 1}) != compute_key({"a": "1"})
    assert compute_key({}, version=1) != compute_key({}, version=2)


def test_a_key_fits_a_label() -> None:
    assert len(compute_key({})) == 52
    assert compute_key({}).isalnum()
