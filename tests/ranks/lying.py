"""The rank program of a peer that installs other bytes than it was sent, or says so: ``lying.py <what> <flags>``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunecast_tuner import ranks
from tunecast_tuner.main import main


class Corrupted(ranks.Group):
    def receive(self, files: Sequence[tuple[Path, int]]) -> None:
        super().receive(files)
        path = files[0][0]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


class Liar(ranks.Group):
    def publish(self, name: str, value: Any) -> None:
        super().publish(name, {"digests": {"TorchCompile": "0" * 64}} if name == "installed" else value)


if __name__ == "__main__":
    ranks.Group = {"corrupted": Corrupted, "liar": Liar}[sys.argv[1]]  # type: ignore[misc]
    main(sys.argv[2:])
