"""Prepares the mount path for an installation, and empties it after a failed one."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunecast_core.errors import InstallError

TRASH = ".tunecast-trash-"
RUNNING = ".tunecast-running"  # marker file that exists while an init container runs


def begin(root: Path) -> bool:
    """Creates the marker file of a run. Returns whether the previous run was killed before its ``finish``.

    ``root`` is a volume that outlives the container, so the next run finds the marker file.

    Raises:
        InstallError: ``root`` doesn't exist or isn't writable.
    """
    try:
        (root / RUNNING).touch(exist_ok=False)
    except FileExistsError:
        return True
    except OSError as error:
        raise InstallError(f"can't write to {root}: {error}; it must be a writable volume") from error
    return False


def finish(root: Path) -> None:
    """Removes the marker file of a run.

    Raises:
        InstallError: the marker file can't be removed.
    """
    try:
        (root / RUNNING).unlink(missing_ok=True)
    except OSError as error:
        raise InstallError(f"can't write to {root}: {error}; it must be a writable volume") from error


def clear(root: Path) -> None:
    """Empties ``root`` except for the marker file of a run.

    Directories of another user that can't be removed are renamed, so that no engine reads them.

    Raises:
        InstallError: ``root`` doesn't exist or isn't writable.
    """
    try:
        for path in [*root.iterdir()]:
            if path.name != RUNNING and not path.name.startswith(TRASH):
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
