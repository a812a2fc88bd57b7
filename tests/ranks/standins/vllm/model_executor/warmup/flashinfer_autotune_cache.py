from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any


def resolve_flashinfer_autotune_file(runner: Any) -> Path:
    """Its directory is named after the configuration, and made."""
    name = hashlib.sha256(repr(runner.vllm_config).encode()).hexdigest()
    directory = Path(os.environ["VLLM_CACHE_ROOT"], "flashinfer_autotune_cache", "0.6.14", "90a", name)
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "autotune_configs.json"
