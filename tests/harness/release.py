"""Releases that were, whose sources are kept, so that an upgrade from them can be tried."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deploy import ROOT

PREVIOUS = "0.1.0"


@contextmanager
def sources(version: str = PREVIOUS) -> Iterator[Path]:
    """What its images and its chart are made from."""
    name = f"tunecast-{version}"
    with tempfile.TemporaryDirectory() as folder, tarfile.open(ROOT / f"tests/data/releases/{name}.tar.xz") as archive:
        archive.extractall(folder)  # it is our own; Debian 12's Python knows no filter
        yield Path(folder, name)
