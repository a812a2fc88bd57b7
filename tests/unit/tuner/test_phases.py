"""Phases are read from logs of real vLLM starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecast_core.bundle.layers import BY_NAME
from tunecast_tuner.proof import phases

LOGS = Path(__file__).parents[2] / "data" / "vllm-logs"


def lines_of(name: str) -> list[phases.Line]:
    return phases.printed_seconds((LOGS / name).read_text().splitlines())


def ready(lines: list[phases.Line]) -> float:
    """Returns the time of /health: in these logs of scripts, the last line before the answer."""
    return next(seconds for seconds, text in lines if "Using None for EOS token id" in text)


@pytest.mark.parametrize(
    ("log", "init", "expected"),
    [
        ("cpu-0.32.0-no-aot-cold.log", 23.04, {"import": 11, "inspect": 8, "compile": 23, "jit": 0, "tuning": 0}),
        ("cpu-0.32.0-no-aot-warm.log", 4.45, {"import": 10, "inspect": 0, "compile": 4, "jit": 0, "graphs": 0}),
        ("cpu-0.32.0-aot-cold.log", 31.02, {"import": 10, "inspect": 7, "compile": 29, "jit": 0, "other": 3}),
        ("cpu-0.32.0-aot-warm-load-failure.log", 12.3, {"import": 11, "inspect": 0, "compile": 10}),
        ("h100-0.26.0-cold.log", 227.85, {"inspect": 17, "weights": 3, "compile": 54, "jit": 144, "graphs": 28}),
        ("h100-0.26.0-warm.log", 31.23, {"inspect": 0, "weights": 2, "compile": 12, "jit": 1, "graphs": 18}),
        ("h100-0.26.0-warm-silent-jit-rebuild.log", 164.45, {"compile": 11, "jit": 133, "graphs": 20}),
    ],
)
def test_real_logs(log: str, init: float, expected: dict[str, float]) -> None:
    lines = lines_of(log)
    start = phases.read(lines, ready(lines))
    assert start.init_seconds == init
    assert {name: start.phases[name] for name in expected} == pytest.approx(expected, abs=0.3)
    assert sum(start.phases.values()) == pytest.approx(start.total_seconds, abs=0.01)


# Logs of other versions, engines and machines; the first line of each describes it.
HARD = {
    "initial-warmup-run-is-jit-0.26": {"jit": (220, 230), "compile": (17, 18.5), "graphs": (5, 7), "other": (0, 10)},
    "kv-cache-memory-bytes": {"jit": (4, 4), "graphs": (3, 3)},
    "multimodal-warmup-in-other": {"warmup": (55.6, 55.7), "weights": (17.6, 18), "other": (0, 10)},
    "no-available-kv-line-0.9.0": {"inspect": (8, 8), "compile": (19.5, 20.5), "graphs": (17.5, 18), "jit": (0, 1)},
    "ray-dp-wait-is-import-0.11": {"wait": (46, 51), "import": (3, 13)},
    "rocm-profiling-is-jit-0.11": {"jit": (0, 1), "profile": (7, 7)},
    "together-took-0.18": {"compile": (44.5, 45.5), "jit": (0, 2), "graphs": (12, 12)},
    "torch-compile-takes-0.10.1": {"compile": (30.5, 31.5), "jit": (0, 1.5), "graphs": (1.5, 1.6)},
    "tpu-all-other": {"compile": (30, 30)},
    "v2-runner-two-captures": {"graphs": (4, 4), "jit": (3, 3), "other": (0, 0)},
    "warm-aot-cold-triton-0.22-tp2": {"jit": (56.9, 57), "other": (0, 0.1)},
}


@pytest.mark.parametrize(("log", "expected"), HARD.items(), ids=HARD)
def test_logs_of_other_versions(log: str, expected: dict[str, tuple[float, float]]) -> None:
    lines = phases.printed_seconds((LOGS / "hard" / f"phases-{log}.log").read_text().splitlines()[1:])
    start = phases.read(lines, lines[-1][0])
    assert sum(start.phases.values()) == pytest.approx(start.total_seconds, abs=0.01)
    found = {phase: start.phases[phase] for phase in expected}
    assert {phase: seconds for phase, seconds in found.items() if not within(seconds, *expected[phase])} == {}


def within(seconds: float, least: float, most: float) -> bool:
    return least - 0.01 <= seconds <= most + 0.01


def test_every_hard_log_of_phases_is_read() -> None:
    assert {path.stem.removeprefix("phases-") for path in (LOGS / "hard").glob("phases-*.log")} == HARD.keys()


def test_a_duration_claims_exactly_its_time_and_the_gap_before_it_is_nobodys() -> None:
    start = phases.read([(2.0, "non-default args: {}"), (30.0, "torch.compile took 10.00 s in total")], 31.0)
    assert {name: seconds for name, seconds in start.phases.items() if seconds} == {
        "import": 2.0,
        "compile": 10.0,
        "other": 19.0,
    }


def test_durations_that_overlap_are_counted_once() -> None:
    """A total follows its parts, and each process of a replica logs its own."""
    lines = [
        (10.0, "(Worker_TP0 pid=3) Dynamo bytecode transform time: 4.00 s"),
        (10.5, "(Worker_TP1 pid=4) Dynamo bytecode transform time: 4.00 s"),
        (20.0, "(Worker_TP0 pid=3) torch.compile took 12.00 s in total"),
        (21.0, "(Worker_TP1 pid=4) torch.compile took 14.00 s in total"),
    ]
    start = phases.read(lines, 21.0)
    assert start.phases["compile"] == 15.0  # from 6.0 on
    assert start.phases["other"] == 6.0


def test_a_duration_reclaims_its_time_from_the_next_milestone() -> None:
    start = phases.read(
        [(5.0, "Resolved architecture: X"), (6.0, "Time spent downloading weights for m: 4.0 seconds")], 6.0
    )
    assert (start.phases["download"], start.phases["inspect"]) == (4.0, 2.0)


@pytest.mark.parametrize("used", [True, False])
def test_before_0_19_flashinfer_builds_its_kernels_in_the_profiling_run(used: bool) -> None:
    words = "Using FlashInfer for top-p & top-k sampling." if used else "FlashInfer is not available."
    lines = [(1.0, words), (10.0, "torch.compile takes 9.00 s in total"), (70.0, "Available KV cache memory: 1 GiB")]
    assert phases.read(lines, 70.0).phases["jit" if used else "profile"] == 60.0


@pytest.mark.parametrize(
    ("line", "phase", "seconds"),
    [
        ("Loading model weights took 14.5 GB", "weights", 9.0),
        ("Model loading took 12.4037 GiB and 2.5 seconds", "weights", 2.5),
        ("Memory profiling takes 4.25 seconds. Total non KV cache memory: 1GiB", "profile", 4.25),
        ("Compiling a graph for shape 1 takes 3.50 s", "compile", 3.5),
        ("Directly load the compiled graph(s) for compile range (1, 8) from the cache, took 1.500 s", "compile", 1.5),
        ("finish build [module_moe_sorting], cost 7.5s", "jit", 7.5),
        ("JIT kernel warmup finished in 6.25s.", "jit", 6.25),
        ("Encoder graph capturing finished in 3 secs, took 0.10 GiB (4 graphs)", "graphs", 3.0),
        ("Chat template warmup completed in 1.500s", "warmup", 1.5),
        ("ROCm segmented attention autotune ready: tp_rank=0/2 local_tuned=3 elapsed=4.50s cache=/c", "tuning", 4.5),
        ("config.json: 100%|##########| 1.2k/1.2k [00:02<00:00, 1.1MB/s]", "download", 2.0),
        ("model-00001-of-00002.safetensors: 100%|##########| 4.9G/4.9G [01:02:08<00:00, 39MB/s]", "download", 9.0),
        ("Fetching 12 files: 100%|##########| 12/12 [00:05<00:00]", "download", 5.0),
    ],
)  # fmt: skip
def test_lines_of_other_versions(line: str, phase: str, seconds: float) -> None:
    assert phases.read([(9.0, f"INFO 11-23 15:00:00 [x.py:1] {line}")], 9.0).phases[phase] == seconds


@pytest.mark.parametrize("line", ["GC took 3.200ms to complete", "Compiling a graph", "Request took 3 s", "took 5 s"])
def test_other_durations_are_nobodys(line: str) -> None:
    assert phases.read([(9.0, line)], 9.0).phases["other"] == 9.0


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
    ("log", "explained"),
    [("cpu-0.32.0-aot-warm-load-failure.log", True), ("cpu-0.32.0-no-aot-warm.log", False)],
)
def test_the_engines_reason_for_a_miss_is_found(log: str, explained: bool) -> None:
    words = phases.first_match(lines_of(log), BY_NAME["TorchCompile"].miss_patterns)
    assert words.startswith("Compiling model again due to a load failure") == explained
    assert bool(words) == explained


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
def test_flashinfers_refusal_of_tactics_is_found(line: str, words: str) -> None:
    assert phases.first_match([(1.0, LOGGER + line)], BY_NAME["FlashInferAutotune"].miss_patterns) == words


def test_lines_without_a_timestamp_have_the_time_of_the_previous_line() -> None:
    texts = ["early", "INFO 11-23 15:00:00 a", "plain", "2026-11-23 15:00:01,500 - INFO - b", "INFO 11-23 15:00:01 c"]
    assert [seconds for seconds, _ in phases.printed_seconds(texts)] == [0.0, 0.0, 0.0, 1.5, 1.5]
