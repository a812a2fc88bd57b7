"""Runs commands in private namespaces and root file systems, whose mounts vanish with the last process."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from testcluster.shell import Command, run

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def jailed(command: Command, *, network: bool = False) -> list[object]:
    """Run `command` as PID 1 of its own namespaces; when this process or PID 1 dies, all of them die."""
    unshare: list[object] = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    unshare += ["--mount-proc", "--net"] if network else ["--mount-proc"]
    unshare += command
    return unshare


def in_root(root: Path, binds: Mapping[Path, Path], command: Command) -> list[object]:
    """Run `command` in an overlay of `root`, with the host's network, for one build."""
    again = [sys.executable, PACKAGE_ROOT, "inside", root]
    pairs = [f"--bind={source}:{target}" for source, target in binds.items()]
    return jailed([*again, *pairs, "--", *command])


def mount_root(lower: Path, place: Path) -> Path:
    """Mount a writable view of `lower` whose changes live in memory; call it in a private namespace."""
    place.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "tunecast", place])
    upper, work, root = place / "upper", place / "work", place / "root"
    for folder in (upper, work, root):
        folder.mkdir()
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "tunecast", "-o", layers, root])
    run(["mount", "-t", "proc", "proc", root / "proc"])
    run(["mount", "--rbind", "/dev", root / "dev"])
    return root


def bind(source: Path, target: Path, *, recursive: bool = False) -> None:
    """Mount `source` on `target`, which is made first where it is missing."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    run(["mount", "--rbind" if recursive else "--bind", source, target])


def enter(lower: Path, binds: Sequence[tuple[Path, Path]], command: Sequence[str]) -> None:
    """Become `command` inside the root; the namespaces are there already (see `in_root`)."""
    root = mount_root(lower, lower.parent / "mnt")
    for source, target in [*binds, *_network_files()]:
        bind(source, root / target.relative_to("/"))
    pivot(root)
    os.environ["PATH"] = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ.pop("PIP_FIND_LINKS", None)  # this variable names a folder of the host
    os.execvp(command[0], list(command))


def pivot(root: Path) -> None:
    """Make `root` the namespace's own. A chroot would not do: runc's `exec` would leave it."""
    os.chdir(root)
    run(["pivot_root", ".", "mnt"])
    os.chdir("/")
    run(["umount", "--lazy", "/mnt"])


def _network_files() -> list[tuple[Path, Path]]:
    """Return the host's files with certificate authorities and name servers, which a build needs."""
    files = (AUTHORITIES, Path("/etc/resolv.conf"), Path("/etc/hosts"))
    return [(path, path) for path in files if path.exists()]
