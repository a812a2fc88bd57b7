"""Standard output, shared by the rank program's own lines and the engine's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from tunecast_tuner.proof.redact import Redactor


class Console:
    """Writes whole lines from several threads. Lines of the rank program begin with ``tunecast rank``."""

    def __init__(self, rank: int, elapsed: Callable[[], float], stream: BinaryIO | None = None) -> None:
        self._rank = rank
        self._elapsed = elapsed
        self._stream = stream or sys.stdout.buffer
        self._lock = threading.Lock()
        self.stage = "Joining"
        self.redactor = Redactor()

    def log(self, text: str) -> None:
        """Writes a line of the rank program, with the seconds since the start and the stage."""
        self.echo(f"tunecast rank {self._rank} [{self._elapsed():.1f} s] {self.stage}: {text}\n".encode())

    def echo(self, line: bytes) -> None:
        """Writes a line of the engine, in which secrets are redacted."""
        with self._lock:
            self._stream.write(self.redactor.line(line))
            self._stream.flush()
