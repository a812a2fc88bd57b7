"""Reads a model's config.json from a directory, or from the hub that the engine uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError

NAME = "config.json"
MODELOPT = "hf_quant_config.json"  # quantisation of older ModelOpt checkpoints
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


def load(model: str, revision: str | None) -> dict[str, Any]:
    """Reads the config.json, with the quantisation from hf_quant_config.json if it has none itself.

    Raises:
        AttemptError: BAD_SETTINGS, there is no valid config.json; ENGINE_CRASHED, the hub didn't answer, which may be
            temporary.
    """
    value = _read(model, revision, NAME)
    if value.get("quantization_config") is None:
        beside = _beside(model, revision).get("quantization")
        value |= {"quantization_config": {"quant_method": "modelopt", **beside}} if isinstance(beside, dict) else {}
    return value


def _beside(model: str, revision: str | None) -> dict[str, Any]:
    try:
        return _read(model, revision, MODELOPT) if not _local(model) or Path(model, MODELOPT).exists() else {}
    except AttemptError as failure:
        if failure.reason != job.BAD_SETTINGS or _local(model):
            raise
        return {}  # the model has no such file


def _local(model: str) -> bool:
    return Path(model).is_dir()


def _read(model: str, revision: str | None, name: str) -> dict[str, Any]:
    path = Path(model, name) if _local(model) else _download(model, revision, name)
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AttemptError(job.BAD_SETTINGS, f"the {name} of {model} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise AttemptError(job.BAD_SETTINGS, f"the {name} of {model} should hold a JSON object")
    return value


def _download(model: str, revision: str | None, name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - part of the engine's image

        return Path(hf_hub_download(model, name, revision=revision))
    except Exception as error:  # errors of huggingface_hub and of its HTTP client
        reason = job.BAD_SETTINGS if is_final(error) else job.ENGINE_CRASHED
        raise AttemptError(reason, f"the {name} of {model} can't be downloaded from the hub: {error}") from error


def is_final(error: BaseException) -> bool:
    """Whether the next attempt would fail the same way, because the hub refused the request or is disabled."""
    chain = list(_chain(error))
    statuses = [status for e in chain if (status := getattr(getattr(e, "response", None), "status_code", None))]
    refused = any(400 <= status < 500 and status not in _LATER for status in statuses)  # noqa: PLR2004
    offline = any(type(e).__name__ == "OfflineModeIsEnabled" for e in chain)
    return refused or offline or isinstance(error, (ValueError, ImportError))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
