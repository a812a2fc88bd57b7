"""A vLLM plugin that loads tuned tactics. It runs in the engine, and needs only the standard library.

vLLM calls ``register`` in each of its processes before it loads a model. The tactics are loaded when FlashInfer's
autotuner is first used, which happens only in workers, after they have chosen their GPU.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

AUTOTUNER = "flashinfer.autotuner"
FILE = Path(__file__).with_name("autotune_configs.json")
ARMED = "_armed_by_tunecast"  # attribute of the class, so that a second call of the plugin has no effect
logger = logging.getLogger("vllm.tunecast")


def register() -> None:
    """Entry point in the group ``vllm.general_plugins``. vLLM may call it more than once."""
    if AUTOTUNER in sys.modules:
        arm(sys.modules[AUTOTUNER])
    elif not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


class Finder(MetaPathFinder):
    """Delegates the import of FlashInfer's autotuner to the other finders, and arms the module after its import."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if fullname != AUTOTUNER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            arm(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def arm(autotuner: Any) -> None:
    """Makes the first ``AutoTuner.get()`` load the file. A failure doesn't prevent the engine's start."""
    tuner = autotuner.AutoTuner
    if hasattr(tuner, ARMED):
        return
    setattr(tuner, ARMED, True)
    plain = tuner.get

    def get() -> Any:
        tuner.get = plain
        found = plain()
        try:
            _load(found)
        except Exception:
            logger.exception("Tunecast: FlashInfer's tactics in %s were not loaded: this start tunes", FILE)
        return found

    tuner.get = staticmethod(get)


def _load(tuner: Any) -> None:
    if tuner.load_configs(str(FILE)) is False:
        logger.warning("Tunecast: FlashInfer refused the tactics in %s of another environment: this start tunes", FILE)
    else:
        logger.info("Tunecast: FlashInfer's tactics were loaded from %s", FILE)
