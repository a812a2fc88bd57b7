"""The layer FlashInferTactics: tactics for engines that keep none, and the vLLM plugin that loads them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tunecast_core.bundle.flashinfer import FILE
from tunecast_core.bundle.layers import PLUGIN_VARIABLE, TACTICS_DIRECTORY, on_demand

SOURCE = Path(__file__).with_name("preload.py")
MODULE = "tunecast_tactics"
ALLOWED = "VLLM_PLUGINS"
DISTRIBUTION = {
    "METADATA": f"Metadata-Version: 2.1\nName: {MODULE.replace('_', '-')}\nVersion: 1\n",
    "entry_points.txt": f"[vllm.general_plugins]\n{MODULE} = {MODULE}:register\n",
}


def objection(environment: Mapping[str, str]) -> str:
    """Returns why an engine with these variables wouldn't find the plugin; empty if it would."""
    if environment.get(PLUGIN_VARIABLE):
        return f"{PLUGIN_VARIABLE} is set by the image or its container, and the plugin that loads tactics needs it"
    allowed = environment.get(ALLOWED)
    if allowed is not None and MODULE not in allowed.split(","):
        return f"{ALLOWED} leaves out the plugin that loads tactics: add {MODULE} to it"
    return ""


def install(root: Path, tactics: Path) -> dict[str, str]:
    """Writes the layer below the mount path, and returns the variables that engines need to find it."""
    directory = root / TACTICS_DIRECTORY
    described = directory / f"{MODULE}-1.dist-info"
    described.mkdir(parents=True, exist_ok=True)
    for name, text in DISTRIBUTION.items():
        (described / name).write_text(text)
    shutil.copyfile(SOURCE, directory / f"{MODULE}.py")
    shutil.copyfile(tactics, directory / FILE)
    return {PLUGIN_VARIABLE: on_demand(str(root))[PLUGIN_VARIABLE]}
