"""Which commit of a model from a hub the engine serves, as the hub's own cache directory has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunecast_core.engine.command_line import CommandLine

MAIN = "main"


def commit(line: CommandLine, environ: Mapping[str, str]) -> str | None:
    """After the engine has loaded it; None for a model in a directory, or where the cache doesn't tell."""
    model = line.model
    if model.startswith((".", "/")) or model.count("/") != 1:
        return None
    revision = line.revision or MAIN
    folder = _cache(environ) / f"models--{model.replace('/', '--')}"
    if (folder / "snapshots" / revision).is_dir():  # a commit itself
        return revision
    try:
        return (folder / "refs" / revision).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _cache(environ: Mapping[str, str]) -> Path:
    """As huggingface_hub finds it: without HOME, a user without a name has one in a folder that is called ``~``."""
    caches = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '~')}/.cache"
    home = environ.get("HF_HOME") or f"{caches}/huggingface"
    return Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub")
