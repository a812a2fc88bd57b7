"""Coverage-guided fuzzing of one target: ``python -m fuzz TARGET -runs=N`` (libFuzzer's options; needs atheris).

It starts with the kept corpus and a valid example, and adds inputs that reach new code to the corpus.
An input that breaks something is written to ``crash-*``, and the process ends with an error.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["tunecast_core", "tunecast_init", "tunecast_operator", "tunecast_tuner"]):
    from fuzz.mutate import mutate
    from fuzz.seeds import seeds
    from fuzz.targets import BINARY, TARGETS

CORPUS = Path(__file__).parent / "corpus"
OPTIONS = ["-timeout=5", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1"]


def json_mutator(data: bytes, longest: int, seed: int) -> bytes:
    """Mutates two of three inputs as JSON, and the others as bytes."""
    return mutate(data, longest, seed) if seed % 3 else bytes(atheris.Mutate(data, longest))


def main() -> None:
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds()[name]):
            Path(folder, f"seed-{number}").write_bytes(data)
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        corpora = [str(CORPUS / name), folder]  # libFuzzer adds inputs to the first folder
        mutator = {} if name in BINARY else {"custom_mutator": json_mutator}
        atheris.Setup([sys.argv[0], *OPTIONS, *options, *corpora], TARGETS[name], **mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
