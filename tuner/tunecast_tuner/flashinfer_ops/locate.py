"""Locates the directory where an engine looks for autotune files, with the engine's own code.

The path holds a hash of vLLM's whole configuration, whose computation differs between versions.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tunecast_core.engine.command_line import CommandLine


def locate(line: CommandLine) -> tuple[str | None, str]:
    """Returns the directory for the serving command line, or None and the reason why it is unknown."""
    try:
        found = _resolve(_configuration(line))
    except SystemExit as error:
        return None, f"vLLM rejects the command line with status {error.code}"
    except Exception as error:  # noqa: BLE001 - vLLM may be of another version, or missing
        return None, f"vLLM could not compute it: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return str(found.parent), ""


def _configuration(line: CommandLine) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    options = _argument_parser(FlexibleArgumentParser()).parse_args(list(line.arguments))
    options.model = line.model
    arguments = AsyncEngineArgs.from_cli_args(options)
    return arguments.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)


def _argument_parser(parser: Any) -> Any:
    try:
        from vllm.entrypoints.openai.cli_args import make_arg_parser  # noqa: PLC0415
    except ImportError:  # 0.32 and later
        from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415
    return make_arg_parser(parser)


def _resolve(configuration: Any) -> Path:
    from vllm.model_executor.warmup.flashinfer_autotune_cache import (  # noqa: PLC0415
        resolve_flashinfer_autotune_file,
    )

    path: Path = resolve_flashinfer_autotune_file(SimpleNamespace(vllm_config=configuration))
    return path
