"""A peer's rank program that misreports or alters what it installs: ``lying.py <what> <flags>``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunecast_tuner.peers import ranks
from tunecast_tuner.rank.main import main


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


class Talker(ranks.Group):
    def publish(self, name: str, value: Any) -> None:
        super().publish(name, {"rank": "1" * 2**21} if name == "proof" else value)


class Overheard(ranks.Group):
    """A process outside the attempt reaches rank 0's port and offers another bundle."""

    def collect(self, name: str, rank: int, kind: type[Any]) -> Any:
        if name == "offer":
            offered = super().collect(name, rank, dict)
            stranger = ranks.SealedStore(self._store.open, "guessed")
            stranger.set("offer/0", json.dumps({**offered, "archives": []}))
        return super().collect(name, rank, kind)


if __name__ == "__main__":
    lies = {"corrupted": Corrupted, "liar": Liar, "talker": Talker, "overheard": Overheard}
    ranks.Group = lies[sys.argv[1]]  # type: ignore[misc]
    main(sys.argv[2:])
