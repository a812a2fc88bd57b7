from __future__ import annotations

from tunecast_core.records.manifest import LayerProof
from tunecast_tuner.proof.keyfactors import differing, explained, fingerprints


def test_differing_variables_are_named() -> None:
    one = fingerprints({"A": "1", "B": "same", "VLLM_API_KEY": "secret", "HOSTNAME": "job-0"})
    other = fingerprints({"A": "2", "B": "same", "C": "3", "VLLM_API_KEY": "secret", "HOSTNAME": "job-1"})
    assert differing(one, other) == ["A", "C"]
    assert "secret" not in str(one)


def test_only_what_did_not_hit_is_explained() -> None:
    hit, miss = LayerProof("A", "Hit", 1, 0), LayerProof("A", "Miss", 1, 1, "rebuilt x")
    assert explained(hit, ["V"]) == hit
    assert explained(miss, []) == miss
    assert explained(miss, ["V", "W"]).reason == "rebuilt x; variables that differ from rank 0: V, W"
