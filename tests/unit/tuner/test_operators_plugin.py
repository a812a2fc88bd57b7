"""The vLLM plugin that loads tactics, found and called as vLLM does, in a separate Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunecast_core.bundle.layers import layer_of
from tunecast_tuner.flashinfer_ops import plugin

AUTOTUNER = """
class AutoTuner:
    made = None
    @classmethod
    def get(cls):
        cls.made = cls.made or cls()
        return cls.made
    def load_configs(self, path):
        loads.append(path)
        {outcome}
loads = []
"""
PROGRAM = """
import importlib.metadata, json, logging, sys
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr, level="INFO")
[entry] = importlib.metadata.entry_points(group="vllm.general_plugins")
for _ in range(2):
    entry.load()()
assert "flashinfer" not in sys.modules, "the plugin imported FlashInfer by itself"
from flashinfer import autotuner
before = len(autotuner.loads)
same = autotuner.AutoTuner.get() is autotuner.AutoTuner.get()
entry.load()()
autotuner.AutoTuner.get()
print(json.dumps([before, same, autotuner.loads]))
"""


@pytest.fixture
def tactics(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.json"
    path.write_text("{}")
    return path


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("return True", "INFO Tunecast: FlashInfer's tactics were loaded from"),
        ("return None", "INFO Tunecast: FlashInfer's tactics were loaded from"),  # this version returns nothing
        ("return False", "WARNING Tunecast: FlashInfer refused the tactics in"),
        ("raise OSError('gone')", "ERROR Tunecast: FlashInfer's tactics in"),
    ],
)
def test_tactics_are_loaded_where_the_autotuner_is_first_asked_for(
    tmp_path: Path, tactics: Path, outcome: str, line: str
) -> None:
    package = tmp_path / "site" / "flashinfer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "autotuner.py").write_text(AUTOTUNER.format(outcome=outcome))
    [(name, value)] = plugin.install(tmp_path, tactics).items()
    variables = {**os.environ, name: f"{value}:{package.parent}", "PYTHONSAFEPATH": "1"}
    found = subprocess.run([sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == [0, True, [str(tmp_path / "tactics/autotune_configs.json")]]
    assert line in found.stderr


def test_the_layer_holds_the_whole_plugin_and_no_files_of_engines(tmp_path: Path, tactics: Path) -> None:
    plugin.install(tmp_path, tactics)
    files = [str(path.relative_to(tmp_path)) for path in (tmp_path / "tactics").rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {found.name for path in files if (found := layer_of(path))} == {"FlashInferTactics"}
    assert layer_of("tactics/__pycache__/tunecast_tactics.cpython-312.pyc") is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ""),
        ({"PYTHONPATH": ""}, ""),
        ({"PYTHONPATH": "/app"}, "PYTHONPATH is set"),
        ({"VLLM_PLUGINS": "tunecast_tactics,other"}, ""),
        ({"VLLM_PLUGINS": "other"}, "add tunecast_tactics to it"),
        ({"VLLM_PLUGINS": ""}, "add tunecast_tactics to it"),
    ],
)
def test_why_an_engine_would_not_find_it(environment: dict[str, str], words: str) -> None:
    found = plugin.objection(environment)
    assert words in found if words else found == ""
