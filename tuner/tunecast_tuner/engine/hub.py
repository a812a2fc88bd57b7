"""Finds the commit of the model that the engine serves, in the cache directory of huggingface_hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunecast_core.engine.command_line import CommandLine

MAIN = "main"


def commit(line: CommandLine, environ: Mapping[str, str]) -> str | None:
    """Returns the commit of the loaded model, or None for a model in a directory or without a cached revision."""
    model = line.model
    if model.startswith((".", "/")) or model.count("/") != 1:
        return None
    revision = line.revision or MAIN
    folder = _cache(environ) / f"models--{model.replace('/', '--')}"
    if (folder / "snapshots" / revision).is_dir():  # the revision is a commit
        return revision
    try:
        return (folder / "refs" / revision).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _cache(environ: Mapping[str, str]) -> Path:
    """Returns the cache directory of huggingface_hub. Without HOME and a user name, it is in a folder named ``~``."""
    caches = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '~')}/.cache"
    home = environ.get("HF_HOME") or f"{caches}/huggingface"
    return Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub")
