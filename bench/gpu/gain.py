"""Times each FlashInfer operator with default tactics, then with those of a file, and writes the times as JSON.

    python gain.py AUTOTUNE.json RESULT.json COMMAND...

It runs inside a mount path that holds the just-in-time builds of the operators.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tunecast_core.engine.command_line import read
from tunecast_tuner.flashinfer_ops import config, model, table
from tunecast_tuner.flashinfer_ops.calls import CALLS

TOKENS = (1, 16, 64, 256, 1024, 4096, 8192)
ROUNDS = 50


def main() -> None:
    """Times both in one process: first the defaults, then the loaded tactics."""
    import flashinfer  # noqa: PLC0415 - of the engine
    import torch  # noqa: PLC0415
    from flashinfer.autotuner import AutoTuner  # noqa: PLC0415

    serving = model.serving(read(sys.argv[3:]))
    problems = table.problems(model.read(config.load(serving.model, None)), serving)
    found = []
    calls = {problem: CALLS[problem.operator](torch, flashinfer, problem.sizes) for problem in problems}
    default = {(problem, n): _microseconds(torch, call, n) for problem, call in calls.items() for n in TOKENS}
    AutoTuner.get().load_configs(sys.argv[1])
    for problem, call in calls.items():
        for tokens in TOKENS:
            tuned = _microseconds(torch, call, tokens)
            found.append(
                {
                    "operator": str(problem),
                    "tokens": tokens,
                    "default_us": round(default[problem, tokens], 2),
                    "tuned_us": round(tuned, 2),
                }
            )
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1))


def _microseconds(torch: Any, call: Any, tokens: int) -> float:
    """Times one call, captured in a CUDA graph as engines do: the median of ``ROUNDS`` replays, in microseconds."""
    run = call(tokens)
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    times: list[float] = []
    for _ in range(ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1000)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
