"""The savings of a bundle are computed only from the phases that its layers can shorten."""

from __future__ import annotations

import pytest

from tunecast_core.bundle.layers import LAYERS
from tunecast_core.bundle.savings import Saved, effective, least, saved
from tunecast_core.records.manifest import LayerProof, Proof, RankProof, Start, Verdict
from tunecast_tuner.proof.phases import PHASES


def start(first: float | None = None, init: float | None = None, **phases: float) -> Start:
    total = sum(phases.values())
    return Start(total, init, None if first is None else total + first, phases)


def rank(warm: Start, number: int = 1, /, **verdicts: Verdict) -> RankProof:
    return RankProof(number, warm, tuple(LayerProof(name, v, 9, 0) for name, v in verdicts.items()), "Identical")


def proof(cold: Start, *ranks: RankProof) -> Proof:
    return Proof("Peer", "Hit", "Identical", cold, ranks)


COLD = start(weights=10, compile=40, other=10)


@pytest.mark.parametrize(
    ("what", "cold", "warm", "verdicts", "worth_it", "speedup"),
    [
        ("it compiles faster", COLD, start(weights=10, compile=5, other=10), {"TorchCompile": "Hit"}, True, 50 / 15),
        (
            "its weights are slower",
            COLD,
            start(weights=90, compile=5, other=10),
            {"TorchCompile": "Hit"},
            True,
            50 / 15,
        ),
        (
            "the cold start alone downloads",
            start(download=80, weights=10, compile=20),
            start(weights=10, compile=20),
            {"TorchCompile": "Hit"},
            False,
            1.0,
        ),
        (
            "the cold start alone waits for a node",
            start(wait=80, compile=20, **{"import": 5}),
            start(compile=20, **{"import": 5}),
            {"TorchCompile": "Hit", "PythonBytecode": "Hit"},
            False,
            1.0,
        ),
        ("only unexplained time is shorter", COLD, start(weights=10, compile=40), {"TorchCompile": "Hit"}, False, 1.0),
        (
            "its imports are faster, and no bytecode is in the bundle",
            start(compile=20, **{"import": 30}),
            start(compile=20, **{"import": 10}),
            {"TorchCompile": "Hit"},
            False,
            1.0,
        ),
        (
            "its bytecode is in the bundle",
            start(compile=20, **{"import": 30}),
            start(compile=20, **{"import": 10}),
            {"PythonBytecode": "Hit"},
            True,
            50 / 30,
        ),
        (
            "a layer that missed saved nothing",
            COLD,
            start(weights=10, compile=5, other=10),
            {"TorchCompile": "Miss", "VllmMeta": "Hit"},
            True,  # by the engine's verdicts alone: no phase of VllmMeta is in its log
            None,
        ),
        ("a layer hit in part", COLD, start(weights=10, compile=30), {"TorchCompile": "Partial"}, True, 50 / 40),
        (
            "a kernel is built at the first request",
            start(first=20, jit=5, compile=5),
            start(first=1, jit=5, compile=5),
            {"Triton": "Hit"},
            True,
            30 / 11,
        ),
        (
            "it is as fast",
            start(compile=10.4),
            start(compile=10),
            {"TorchCompile": "Hit"},
            False,
            10.4 / 10,
        ),
        ("it is slower", start(compile=10), start(compile=12), {"TorchCompile": "Hit"}, False, 10 / 12),
    ],
)
def test_a_bundle_is_worth_what_it_can_change(
    what: str, cold: Start, warm: Start, verdicts: dict[str, Verdict], worth_it: bool, speedup: float | None
) -> None:
    found = saved(cold, rank(warm, **verdicts))
    assert found.worth_it == worth_it, what
    assert found.speedup == (speedup if speedup is None else pytest.approx(speedup)), what


def test_a_log_without_phases_is_judged_by_the_engines_own_line() -> None:
    cold, warm = start(init=40.0, other=60), start(init=5.0, other=90)
    found = saved(cold, rank(warm, TorchCompile="Hit"))
    assert found == Saved(1, "EngineInit", 35.0, 40.0)
    assert found.speedup == 8.0


def test_a_log_with_mostly_unexplained_time_has_no_phases() -> None:
    cold, warm = start(init=40.0, compile=1, other=60), start(init=5.0, compile=1, other=20)
    assert saved(cold, rank(warm, TorchCompile="Hit")).basis == "EngineInit"


@pytest.mark.parametrize(("verdict", "expected"), [("Hit", True), ("Partial", False), ("Miss", False)])
def test_verdicts_decide_if_the_log_has_no_phases(verdict: Verdict, expected: bool) -> None:
    found = proof(Start(10.0), rank(Start(12.0), TorchCompile=verdict))
    assert least(found) == Saved(1, "Verdicts")
    assert effective(found) == expected


def test_every_rank_has_to_save_time() -> None:
    fast, slow = start(compile=5), start(compile=40)
    ranks = [rank(fast, 1, TorchCompile="Hit"), rank(slow, 2, TorchCompile="Hit")]
    assert effective(proof(COLD, ranks[0]))
    assert not effective(proof(COLD, *ranks))
    found = least(proof(COLD, *ranks))
    assert (found and found.rank, found and found.seconds) == (2, 0.0)


def test_some_layer_has_to_hit_on_every_rank() -> None:
    warm = start(compile=5)
    ranks = [rank(warm, 1, TorchCompile="Hit"), rank(warm, 2, TorchCompile="Partial")]
    assert not effective(proof(COLD, *ranks))
    assert not effective(proof(COLD))


def test_the_report_names_the_phases_that_layers_shortened() -> None:
    cold, warm = start(compile=40, jit=100, inspect=8), start(compile=5, jit=1, inspect=8)
    found = saved(cold, rank(warm, Triton="Hit", TorchCompile="Hit", FlashInferJIT="Hit"))
    assert [(p.phase, p.saved, p.layers) for p in found.phases] == [
        ("compile", 35.0, ("Triton", "TorchCompile")),
        ("jit", 99.0, ("Triton", "FlashInferJIT")),
    ]


def test_layers_shorten_phases_that_are_read() -> None:
    assert {phase for layer in LAYERS for phase in layer.shortens} <= {*PHASES, "request"}
