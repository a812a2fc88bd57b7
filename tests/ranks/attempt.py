"""Runs one attempt as real processes: each rank program has its own settings directory and mount path."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tunecast_core.bundle.layers import LAYERS
from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.seal import unseal

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin.py")
LYING = Path(__file__).with_name("lying.py")


def engine_directory() -> Path:
    """Returns the virtual environment with torch that ``tests/cluster`` builds."""
    given = os.environ.get("TUNECAST_ENGINE_DIR", "")
    if not given or not list(Path(given).glob("lib/python3*/site-packages/torch")):
        raise RuntimeError(
            "these tests need torch: run `python3 tests/cluster engine`, then set TUNECAST_ENGINE_DIR"
            ' with `eval "$(python3 tests/cluster env)"`'
        )
    return Path(given)


def site_packages() -> Path:
    return next(engine_directory().glob("lib/python3*/site-packages"))


def interpreter() -> str:
    """Returns the host's Python of the version that the environment was built for."""
    return f"/usr/bin/{site_packages().parent.name}"


def free_port() -> int:
    with socket.create_server((loopback(), 0), family=family(loopback())) as listener:
        return int(listener.getsockname()[1])


def loopback() -> str:
    """Returns this host's loopback address, which is IPv6 if the host has no IPv4."""
    try:
        socket.create_server(("127.0.0.1", 0)).close()
    except OSError:
        return "::1"
    return "127.0.0.1"


def family(host: str) -> socket.AddressFamily:
    """Returns the socket family of an address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Waits for a condition; the AssertionError after the deadline names it."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.02)


@dataclass
class Staged:
    """The objects that ranks have put with presigned URLs."""

    objects: dict[str, bytes] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)  # names whose first PUT is answered 403
    url: str = ""

    def urls(self, ranks: int) -> dict[str, str]:
        names = [job.PROGRESS, *map(job.result_object, range(ranks)), *(job.archive_object(la.name) for la in LAYERS)]
        return {name: f"{self.url}/{name}?signature=secret" for name in names}

    def result(self, rank: int) -> job.RankResult:
        """Returns the result that a rank staged, as the operator reads it."""
        name = job.result_object(rank)
        return decode(job.RankResult, unseal("", name, self.objects[name]), name)


@contextlib.contextmanager
def staging() -> Iterator[Staged]:
    """Runs a server that stores PUT objects."""
    staged = Staged()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            name = self.path.lstrip("/").partition("?")[0]
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if name in staged.refuse:
                staged.refuse.discard(name)
                status = 403
            else:
                staged.objects[name] = data
                status = 200
            if name == job.PROGRESS:
                staged.progress.append(json.loads(data))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = family(loopback())

    server = Server((loopback(), 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = "[::1]" if loopback() == "::1" else loopback()
    staged.url = f"http://{host}:{server.server_port}"
    try:
        yield staged
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Rank:
    """One running rank program."""

    def __init__(
        self,
        directory: Path,
        number: int,
        settings: job.JobSettings,
        lying: str,
        command: Sequence[str],
        **variables: str,
    ) -> None:
        self.directory = directory / f"rank-{number}"
        self.mount = Path(settings.mount_path)
        self.temporary = self.directory / "tmp"
        for path in (self.directory / "settings", self.mount, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)  # the modes with which the kubelet makes volumes
        (self.directory / "settings" / job.SETTINGS_FILE).write_bytes(canonical(settings))
        self.termination_log = self.directory / "termination-log"
        self.termination_log.touch()
        self.termination_log.chmod(0o666)
        self.log = self.directory / "log"
        flags = [
            f"--settings={self.directory / 'settings'}",
            f"--termination-log={self.termination_log}",
            "--silence=4",
        ]
        program = [str(LYING), lying] if lying else [str(tools(directory))]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-B", *program, *flags],
                env={**self._environment(directory, number), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _environment(self, directory: Path, number: int) -> dict[str, str]:
        paths = [directory / "modules", site_packages(), tools(directory)]
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "JOB_COMPLETION_INDEX": str(number),
        }

    def wait(self, seconds: float = 90.0) -> job.RankResult:
        """Waits for the end; returns the result from the termination log, which must match the exit status."""
        code = self.process.wait(seconds)
        result = decode(job.RankResult, self.termination_log.read_bytes(), "the termination log")
        assert code == (0 if result.succeeded else 1), self.text
        return result

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def prints(self, words: str, seconds: float = 60.0) -> None:
        until(lambda: words in self.text or self.process.poll() is not None, seconds, f"{words!r} in {self.log}")
        assert words in self.text, self.text

    def leftovers(self) -> list[Path]:
        """Returns the temporary files that the rank left behind."""
        return list(self.temporary.iterdir())

    def engine_processes(self) -> list[int]:
        """Returns the other processes that have this rank's mount path or log in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != self.process.pid:
                with contextlib.suppress(OSError):
                    if f"VLLM_CACHE_ROOT={self.mount}/".encode() in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
        return found

    def kill(self) -> None:
        for pid in [self.process.pid, *self.engine_processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def tools(directory: Path) -> Path:
    """Makes the directory that an init container would bring, which holds pure Python only."""
    target = directory / "tools"
    if not target.exists():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tuner", target, ignore=ignore)
        shutil.copytree(ROOT / "core" / "tunecast_core", target / "tunecast_core", ignore=ignore)
    return target


def make_modules(directory: Path, count: int) -> None:
    """Makes modules without bytecode for the stand-in to import."""
    folder = directory / "modules"
    folder.mkdir()
    for number in range(count):
        (folder / f"tunecast_standin_{number}.py").write_text(f"VALUE = {number}\n")


@contextlib.contextmanager
def attempt(
    directory: Path,
    staged: Staged,
    ranks: int,
    *arguments: str,
    liars: dict[int, str] | None = None,
    python: str = "",
    user: Sequence[str] = (),
    variables: Mapping[int, dict[str, str]] | None = None,
    first: int = 0,
    **changes: Any,
) -> Iterator[list[Rank]]:
    """Starts the ranks of an attempt, from ``first`` on; remaining processes are killed at the end.

    ``user`` is a command that switches to another user.
    """
    (directory / "modules").mkdir(exist_ok=True)
    rendezvous = free_port()
    host = ("--host=::",) if loopback() == "::1" else ()  # vLLM needs this flag where there is no IPv4
    started: list[Rank] = []
    try:
        for number in range(first, ranks):
            port = free_port()
            settings = job.JobSettings(
                attempt_id="uid-1",
                key="key",
                world_size=ranks,
                rendezvous_host="localhost",
                rendezvous_port=rendezvous,
                workload="Engine",
                command=(interpreter(), str(STANDIN), "vllm", "serve", "stand-in", f"--port={port}", *host, *arguments),
                mount_path=str(directory / f"mount-{number}"),
                timeout_seconds=120.0,
                uploads=staged.urls(ranks),
            )
            started.append(
                Rank(
                    directory,
                    number,
                    replace(settings, **changes),
                    (liars or {}).get(number, ""),
                    [*user, python or interpreter()],
                    **(variables or {}).get(number, {}),
                )
            )
        yield started
    finally:
        for rank in started:
            rank.kill()
