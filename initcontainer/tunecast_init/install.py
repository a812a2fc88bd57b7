"""The mount path: emptied before anything is put there, and after anything that went wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunecast_core.errors import InstallError

TRASH = ".tunecast-trash-"
RUNNING = ".tunecast-running"  # there while an init container runs


def begin(root: Path) -> bool:
    """Marks a run as under way; returns whether the run before was killed and never came to ``finish``.

    ``root`` is a volume that outlives the container, so the next run finds the mark.

    Raises:
        InstallError: ``root`` isn't there or isn't writable.
    """
    try:
        (root / RUNNING).touch(exist_ok=False)
    except FileExistsError:
        return True
    except OSError as error:
        raise InstallError(f"can't write to {root}: {error}; it must be a writable volume") from error
    return False


def finish(root: Path) -> None:
    """Takes the mark away.

    Raises:
        InstallError: that isn't possible.
    """
    try:
        (root / RUNNING).unlink(missing_ok=True)
    except OSError as error:
        raise InstallError(f"can't write to {root}: {error}; it must be a writable volume") from error


def clear(root: Path) -> None:
    """Empties ``root`` of all but the mark of a run.

    What another user's engine left and may not be removed is moved out of every engine's sight.

    Raises:
        InstallError: ``root`` isn't there or isn't writable.
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
