"""Phases are read from logs of real vLLM starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecast_cache.layers import BY_NAME
from tunecast_tuner import phases

LOGS = Path(__file__).parents[2] / "data" / "vllm-logs"


def lines_of(name: str) -> list[phases.Line]:
    return phases.printed_seconds((LOGS / name).read_text().splitlines())


def ready(lines: list[phases.Line]) -> float:
    """These logs are of scripts, not servers: the last line before the answer stands for /health."""
    return next(seconds for seconds, text in lines if "Using None for EOS token id" in text)


@pytest.mark.parametrize(
    ("log", "init", "expected"),
    [
        ("cpu-0.32.0-no-aot-cold.log", 23.04, {"import": 11, "inspect": 8, "compile": 23, "jit": 0, "tuning": 0}),
        ("cpu-0.32.0-no-aot-warm.log", 4.45, {"import": 10, "inspect": 0, "compile": 4, "jit": 0, "graphs": 0}),
        ("cpu-0.32.0-aot-cold.log", 31.02, {"import": 10, "inspect": 7, "compile": 29}),
        ("cpu-0.32.0-aot-warm-load-failure.log", 12.3, {"import": 11, "inspect": 0, "compile": 10}),
        ("h100-0.26.0-cold.log", 227.85, {"inspect": 17, "weights": 3, "compile": 54, "jit": 142, "graphs": 27.2}),
        ("h100-0.26.0-warm.log", 31.23, {"inspect": 0, "weights": 2, "compile": 12, "jit": 1, "graphs": 17.2}),
        ("h100-0.26.0-warm-silent-jit-rebuild.log", 164.45, {"compile": 11, "jit": 133, "graphs": 19.2}),
    ],
)
def test_real_logs(log: str, init: float, expected: dict[str, float]) -> None:
    lines = lines_of(log)
    start = phases.read(lines, ready(lines))
    assert start.init_seconds == init
    assert {name: start.phases[name] for name in expected} == pytest.approx(expected, abs=0.3)
    assert sum(start.phases.values()) == pytest.approx(start.total_seconds, abs=0.01)


def test_tuning_is_the_time_between_its_own_lines() -> None:
    start = phases.read([(1.0, "[Autotuner]: Autotuning process starts ..."), (15.5, "Autotuning process ends")], 20.0)
    assert start.phases["tuning"] == 14.5
    assert start.phases["other"] == 5.5


def test_what_is_printed_after_health_does_not_count() -> None:
    start = phases.read([(1.0, "non-default args: {}"), (30.0, "torch.compile took 25 s in total")], 10.0)
    assert start.phases["import"] == 1.0
    assert start.phases["compile"] == 0.0


def test_a_silent_log_is_all_other() -> None:
    start = phases.read([(0.5, "hello")], 7.25)
    assert start.init_seconds is None
    assert start.phases["other"] == start.total_seconds == 7.25


@pytest.mark.parametrize(
    ("log", "said"),
    [("cpu-0.32.0-aot-warm-load-failure.log", True), ("cpu-0.32.0-no-aot-warm.log", False)],
)
def test_the_engine_says_why_a_layer_missed(log: str, said: bool) -> None:
    words = phases.engine_words(lines_of(log), BY_NAME["TorchCompile"].engine_says)
    assert words.startswith("Compiling model again due to a load failure") == said
    assert bool(words) == said


# As FlashInfer's own logger prints them in a vLLM log.
LOGGER = "(EngineCore pid=798) 2026-11-23 15:30:32,726 - WARNING - autotuner.py:651 - flashinfer.jit: [Autotuner]: "
FACTS = "(gpu: saved=NVIDIA A100 vs current=NVIDIA H100 80GB HBM3)"
ELSEWHERE = f"Cache file /m/autotune_configs.json was created in a different environment {FACTS}"
SAVED = "Saved 12 configs to /m/autotune_configs.json (3 new, 9 from previous config)"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{ELSEWHERE}. Ignoring cached configs. Results will not be saved to this file", ELSEWHERE),
        (SAVED, f"[Autotuner]: {SAVED}"),
        ("Saved 12 configs to /m/autotune_configs.json (0 new, 12 from previous config)", ""),
        ("Loaded 12 configs from /m/autotune_configs.json", ""),
    ],
)
def test_flashinfer_says_that_tactics_were_not_taken(line: str, words: str) -> None:
    assert phases.engine_words([(1.0, LOGGER + line)], BY_NAME["FlashInferAutotune"].engine_says) == words


def test_lines_without_a_stamp_take_the_time_of_the_one_before() -> None:
    texts = ["early", "INFO 11-23 15:00:00 a", "plain", "2026-11-23 15:00:01,500 - INFO - b", "INFO 11-23 15:00:01 c"]
    assert [seconds for seconds, _ in phases.printed_seconds(texts)] == [0.0, 0.0, 0.0, 1.5, 1.5]
