"""The mount path: emptied before anything is put there, and after anything that went wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunecast_cache.errors import InstallError

TRASH = ".tunecast-trash-"


def clear(root: Path) -> None:
    """Empties ``root``; what another user's engine left and we may not remove is moved out of every engine's sight.

    Raises:
        InstallError: ``root`` isn't there or isn't writable.
    """
    try:
        for path in [*root.iterdir()]:
            if not path.name.startswith(TRASH):
                _remove(path)
    except OSError as error:
        raise InstallError(f"can't empty {root}: {error}; it must be a writable volume") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            path.rename(_unused(path))
    else:
        path.unlink()


def _unused(path: Path) -> Path:
    return next(p for n in range(2**20) if not (p := path.with_name(f"{TRASH}{n}")).exists())
