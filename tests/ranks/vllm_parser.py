"""Parses command lines, one JSON list of words per line, with vLLM's own parser in the engine's Python."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any


def main() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    parser = make_arg_parser(FlexibleArgumentParser())
    flags = sorted({option for action in parser._actions for option in action.option_strings} - {"-h", "--help"})
    print(json.dumps({"flags": flags}))
    for line in sys.stdin:
        print(json.dumps(parsed(make_arg_parser(FlexibleArgumentParser()), json.loads(line))))


def parsed(parser: Any, words: list[str]) -> dict[str, Any] | None:
    """Parses words as ``vllm serve`` does; returns None if the parser exits."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            options = parser.parse_args(words)
    except SystemExit:
        return None
    return {
        "model": options.model_tag,
        "port": options.port,
        "tensor": options.tensor_parallel_size,
        "pipeline": options.pipeline_parallel_size,
        "data": options.data_parallel_size,
        "host": options.host,
        "socket": options.uds,
        "scheme": "https" if options.ssl_certfile or options.ssl_keyfile else "http",
        "root_path": options.root_path or "",
        "served_names": options.served_model_name or [options.model_tag],
    }


if __name__ == "__main__":
    main()
