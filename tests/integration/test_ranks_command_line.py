"""Our reading of command lines agrees with vLLM's own parser, for a table of flags in any order."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ranks.attempt import engine_directory
from tunecast_core.engine.command_line import read
from tunecast_core.engine.flags import ALIASES, NAMES, SWITCHES
from tunecast_core.errors import CommandLineError

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).parents[1] / "ranks" / "vllm_parser.py"
POOL = [
    "--port 9001", "--port=9002", "--por=9003", "-tp 2", "-tp=4", "--tensor_parallel_size=8", "--tensor-parallel-s 2",
    "-pp 2", "--data-parallel-size=2", "--enforce-eager", "--no-enable-prefix-caching", "-O3", "-O 2",
    "--served-model-name a b", "--api-key k1 k2", "--host ::", "--hos=1.2.3.4", "--uds /s", "--root-path /q",
    "--ssl-certf /c", "--ssl-cert-reqs 2", "--max-model-len 8k", "--max-model-len=-1", "--max-num-seqs -1", "--seed 3",
    "-cc.cudagraph_mode=FULL", "--compilation_config.cudagraph_mode NONE",
    '--compilation-config {"cache_dir":"/x"}', "--dtype=half", "--quantiz fp8",
]  # fmt: skip
LINES = 1500


def lines() -> list[list[str]]:
    chance = random.Random(7)
    found = []
    for _ in range(LINES):
        parts = chance.sample(POOL, chance.randrange(7))
        parts.insert(chance.randrange(len(parts) + 1), "org/model")
        found.append([word for part in parts for word in part.split(" ")])
    return found


@pytest.fixture(scope="module")
def vllm() -> list[Any]:
    """Returns the parser's flags, then its result for each line."""
    text = "".join(json.dumps(words) + "\n" for words in lines())
    python = engine_directory() / "bin" / "python"
    done = subprocess.run([python, SCRIPT], input=text, capture_output=True, text=True, timeout=300, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "null"))]


def test_every_flag_of_vllm_is_known(vllm: list[Any]) -> None:
    named = {ALIASES.get(flag, flag) for flag in vllm[0]["flags"]}
    assert sorted(named - NAMES - {f"--no-{flag[2:]}" for flag in SWITCHES}) == []


def test_lines_are_read_as_vllm_reads_them(vllm: list[Any]) -> None:
    answers = vllm[1:]
    assert len(answers) == LINES
    differ = [(words, answer) for words, answer in zip(lines(), answers, strict=True) if not same(words, answer)]
    assert differ == []
    assert sum(bool(answer and answer["model"]) for answer in answers) > LINES / 2


def same(words: list[str], answer: dict[str, Any] | None) -> bool:
    """Returns whether our result is the same; we refuse each line that vLLM refuses or that names no model."""
    try:
        line = read(["vllm", "serve", *words])
    except CommandLineError:
        return answer is None or answer["model"] is None
    if answer is None:
        return False
    return all(getattr(line, name) == (tuple(v) if isinstance(v, list) else v) for name, v in answer.items())
