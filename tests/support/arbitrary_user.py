"""Runs a program as OpenShift does: a high uid without a passwd entry, group 0, no HOME and no capabilities."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.deploy import ROOT

UID = 1_000_730_000
ASIDE = Path("/mnt")
ENVIRONMENT = ("env", "--unset=HOME", "--unset=USER", "--unset=LOGNAME", "--unset=USERNAME")
USER = (
    "setpriv", f"--reuid={UID}", "--regid=0", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
    "--no-new-privs",
)  # fmt: skip


def arbitrary_user(*readable: Path) -> list[str]:
    """Returns a command line that runs the command after it as such a user. It requires root.

    The command runs in its own mount namespace, where our code, this interpreter and ``readable`` keep their paths.
    It can read them even below folders that are closed to other users, such as /root.
    """
    paths = [path.resolve() for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix), *readable)]
    script = "\n".join(["set -e", *_opened(paths), 'exec "$@"'])
    return ["unshare", "--mount", "--", "sh", "-c", script, "sh", *ENVIRONMENT, *USER]


def _opened(paths: Sequence[Path]) -> Iterator[str]:
    """Yields shell commands that mount an open folder, which holds only ``paths``, over each closed one."""
    hidden = {path: folder for path in paths if (folder := _closed(path))}
    yield f"mount -t tmpfs tmpfs {ASIDE}"
    for number, path in enumerate(hidden):
        yield from _bind(path, ASIDE / str(number))
    for folder in dict.fromkeys(hidden.values()):
        yield f"mount -t tmpfs -o mode=0755 tmpfs {shlex.quote(str(folder))}"
    for number, path in enumerate(hidden):
        yield from _bind(ASIDE / str(number), path)


def _bind(source: Path, target: Path) -> Iterator[str]:
    yield f"mkdir -p {shlex.quote(str(target))}"
    yield f"mount --rbind {shlex.quote(str(source))} {shlex.quote(str(target))}"


def _closed(path: Path) -> Path | None:
    """Returns the outermost folder above ``path`` that other users may not enter."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)
