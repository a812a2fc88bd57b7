"""The build cache, which all checkouts share: its folders are keyed by content and complete."""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """An error that the user can fix; the message explains how."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; a dead holder's lock is released by the kernel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle.fileno(), path):  # otherwise its last holder has removed it
                yield
                return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def digest(*parts: str | bytes) -> str:
    """Return a short key of all inputs of a build."""
    total = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()[:12]


def report(text: str) -> None:
    """Print progress to standard error; standard output is for results."""
    print(f"{text}\n", end="", file=sys.stderr, flush=True)  # one write, because lanes print at the same time


class Cache:
    """Folders named `<what>-<key>`, each made in a temporary folder and renamed when complete."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_environment(cls) -> "Cache":
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(Path(os.environ.get("TUNECAST_CACHE") or home / "tunecast").resolve())

    def lock_path(self, name: str) -> Path:
        return self.root / "locks" / f"{name}.lock"

    def ensure(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the folder that `make` fills; build it if it does not exist."""
        done = self.root / f"{name}-{key}"
        if done.exists():
            return done
        with locked(self.lock_path(name)):
            if not done.exists():
                self._make(name, done, make)
        return done

    def _make(self, name: str, done: Path, make: Callable[[Path], None]) -> None:
        started = time.monotonic()
        report(f"building {name} ...")
        unfinished = self.root / f"tmp-{name}"
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed build
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(done)
        report(f"built {name} in {time.monotonic() - started:.1f} s")
