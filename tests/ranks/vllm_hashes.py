"""Computes vLLM's own hash of its compiled files, for flags and variables that must not change it.

The engine's Python runs this program. It reads a JSON list of words per line and prints the hash of the configuration
that they make, or null for unknown flags. The first line has the variables that vLLM knows and those that it hashes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MODEL = Path(__file__).parents[1] / "data" / "models" / "tiny-embedding"
ARGUMENTS = ["--load-format=dummy", "--max-model-len=512", "--dtype=bfloat16"]


def main() -> None:
    from vllm import envs  # noqa: PLC0415
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    answer, sys.stdout = sys.stdout, sys.stderr  # vLLM prints lines, too
    hashed, known = sorted(envs.compile_factors()), sorted(envs.environment_variables)
    print(json.dumps({"hashed": hashed, "known": known}), file=answer)
    parser = make_arg_parser(FlexibleArgumentParser())
    flags = {option for action in parser._actions for option in action.option_strings}
    for line in sys.stdin:
        words = json.loads(line)
        if not flags.issuperset(word.partition("=")[0] for word in words if word.startswith("-")):
            print("null", file=answer)
            continue
        options = parser.parse_args([f"--model={MODEL}", *ARGUMENTS, *words])
        config = AsyncEngineArgs.from_cli_args(options).create_engine_config()
        print(json.dumps(config.compute_hash()), file=answer)


if __name__ == "__main__":
    main()
