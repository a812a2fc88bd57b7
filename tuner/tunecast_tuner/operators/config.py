"""A model's config.json: from a directory, or from the hub that the engine itself would ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunecast_cache import job
from tunecast_tuner.failures import AttemptError

NAME = "config.json"


def load(model: str, revision: str | None) -> dict[str, Any]:
    """Raises AttemptError (BAD_SETTINGS) where there is none, and says where it was looked for."""
    try:
        path = Path(model, NAME) if Path(model).is_dir() else _download(model, revision)
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, ImportError) as error:
        raise AttemptError(job.BAD_SETTINGS, f"the {NAME} of {model} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise AttemptError(job.BAD_SETTINGS, f"the {NAME} of {model} should hold a JSON object")
    return value


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - the engine's image brings it

    return Path(hf_hub_download(model, NAME, revision=revision))
