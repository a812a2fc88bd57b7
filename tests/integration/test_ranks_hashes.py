"""Cosmetic flags and variables against vLLM's own hash of what its compiled files depend on."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ranks.attempt import engine_directory
from tunecast_core.engine.flags import NAMES, SWITCHES
from tunecast_operator.engine import HASHED_VARIABLES
from tunecast_operator.key_inputs import COSMETIC_FLAGS, COSMETIC_VARIABLES, PER_POD_VARIABLES

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).parents[1] / "ranks" / "vllm_hashes.py"
# values for flags whose values vLLM's parser restricts
VALUES = {
    "--allowed-headers": '["*"]', "--allowed-methods": '["GET"]', "--allowed-origins": '["*"]',
    "--chat-template-content-format": "openai", "--collect-detailed-traces": "model",
    "--custom-histogram-buckets": '{"request_latency": [1.0, 2.0]}', "--default-chat-template-kwargs": '{"a": 1}',
    "--fingerprint-mode": "hash", "--h11-max-header-count": "9", "--h11-max-incomplete-event-size": "9",
    "--kv-cache-metrics-sample": "0.5", "--max-log-len": "9", "--otlp-traces-endpoint": "http://127.0.0.1:1",
    "--port": "9000", "--reasoning-parser": "granite",
    "--show-hidden-metrics-for-version": "0.31", "--shutdown-timeout": "9", "--sse-keep-alive-interval": "9",
    "--log-config-file": str(Path(__file__).parents[1] / "data" / "vllm-logging.json"), "--ssl-cert-reqs": "0",
    "--log-level": "INFO", "--uvicorn-log-level": "debug",
}  # fmt: skip
TOGETHER = {"--collect-detailed-traces": ["--otlp-traces-endpoint=http://127.0.0.1:1"]}
COUNTS = ["--max-num-seqs=7", "--dtype=float16", "--enforce-eager", "--max-num-batched-tokens=777"]


def words(flag: str) -> list[str]:
    value = [] if flag in SWITCHES else [VALUES.get(flag, "x")]
    return [flag, *value, *TOGETHER.get(flag, [])]


@pytest.fixture(scope="module")
def vllm() -> dict[str, Any]:
    """Returns vLLM's variables, and a hash for each line of flags, or None for flags that it has removed."""
    lines = [[], *([flag] for flag in COUNTS), *(words(flag) for flag in sorted(COSMETIC_FLAGS))]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    python = engine_directory() / "bin" / "python"
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [python, SCRIPT], input=text, capture_output=True, text=True, timeout=300, check=True, env=environment
    )
    variables, *hashes = [json.loads(line) for line in done.stdout.splitlines()]
    return {**variables, "hashes": {" ".join(line): found for line, found in zip(lines, hashes, strict=True)}}


def test_no_cosmetic_flag_changes_what_vllm_compiles(vllm: dict[str, Any]) -> None:
    found = {flag: vllm["hashes"][" ".join(words(flag))] for flag in sorted(COSMETIC_FLAGS)}
    assert {flag for flag, value in found.items() if value not in {None, vllm["hashes"][""]}} == set()
    assert sum(value is not None for value in found.values()) > 0.9 * len(found), found
    assert COSMETIC_FLAGS <= NAMES


def test_flags_that_vllm_hashes_are_in_the_key(vllm: dict[str, Any]) -> None:
    """This shows that the test above can fail."""
    assert {flag for flag in COUNTS if vllm["hashes"][flag] == vllm["hashes"][""]} == set()
    assert COSMETIC_FLAGS.isdisjoint(flag.partition("=")[0] for flag in COUNTS)


def test_vllm_hashes_no_variable_that_the_key_leaves_out(vllm: dict[str, Any]) -> None:
    """Otherwise vLLM would compile again although the key finds a bundle."""
    patterns = (*COSMETIC_VARIABLES, *PER_POD_VARIABLES)
    assert [name for name in vllm["hashed"] if any(fnmatch.fnmatchcase(name, p) for p in patterns)] == []
    known = [name for name in vllm["known"] if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    assert len(known) > 20


def test_vllm_hashes_the_variables_that_a_note_is_about(vllm: dict[str, Any]) -> None:
    assert set(vllm["hashed"]) >= HASHED_VARIABLES
