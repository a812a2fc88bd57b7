"""Presigned PUTs: a rank's only way to S3."""

from __future__ import annotations

import io
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tunecast_cache import job
from tunecast_cache.records import canonical
from tunecast_tuner.console import Console
from tunecast_tuner.failures import AttemptError

TRIES = 6
SOCKET_SECONDS = 60.0
PROGRESS_PERIOD = 5.0  # seconds between two progress records
Urls = Callable[[], dict[str, str]]  # reads the settings again: the operator renews the URLs


def put(url: str, body: BinaryIO, size: int, timeout: float = SOCKET_SECONDS) -> None:
    """One PUT, streamed. Raises OSError (of which urllib's errors are kinds) when it isn't answered with 2xx."""
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")  # noqa: S310 - the operator's URL
    with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
        response.read()


def waits(tries: int = TRIES, jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds before each try after the first: 1, 2, 4 ..., each between half of it and all of it."""
    return (2.0**number * (0.5 + jitter() / 2) for number in range(tries - 1))


def upload(
    urls: Urls, name: str, open_body: Callable[[], BinaryIO], size: int, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Stages one object, with retries.

    Raises:
        AttemptError: UPLOAD_FAILED, with the last error and without the URL, whose query is a credential.
    """
    pauses = waits()
    while True:
        try:
            url = urls().get(name)
            if url is None:
                raise AttemptError(
                    job.UPLOAD_FAILED, f"the settings hold no URL for {name}: the operator should presign it"
                )
            with open_body() as body:
                put(url, body, size)
        except OSError as error:
            pause = next(pauses, None)
            if pause is None:
                raise AttemptError(
                    job.UPLOAD_FAILED, f"{name} was not staged after {TRIES} tries: {describe(error)}"
                ) from error
            sleep(pause)
        else:
            return


def upload_file(urls: Urls, name: str, path: Path) -> None:
    """Stages a file; see ``upload``."""
    upload(urls, name, lambda: path.open("rb"), path.stat().st_size)


def upload_bytes(urls: Urls, name: str, data: bytes) -> None:
    """Stages a small object; see ``upload``."""
    upload(urls, name, lambda: io.BytesIO(data), len(data))


def describe(error: OSError) -> str:
    """An error of urllib in one line, with what S3 said of a refusal."""
    if isinstance(error, urllib.error.HTTPError):
        said = error.read(300).decode(errors="replace").replace("\n", " ")
        return f"HTTP {error.code} {error.reason} {said}".strip()
    return str(getattr(error, "reason", error))


class Progress:
    """Tells the operator where rank 0 is, every few seconds and at each change; a failure is only logged."""

    def __init__(self, urls: Urls, console: Console, elapsed: Callable[[], float]) -> None:
        self._urls = urls
        self._console = console
        self._elapsed = elapsed
        self._bytes = 0
        self._stage: job.Stage = "Joining"
        self._changed = threading.Event()
        self._stopped = False

    def enter(self, stage: job.Stage, text: str, size: int | None = None) -> None:
        """A new stage, also in the log; ``size``: bytes of the bundle, once they are known."""
        self._stage = self._console.stage = stage
        self._bytes = self._bytes if size is None else size
        self._console.say(text)
        self._changed.set()

    def _run(self) -> None:
        said = ""
        stopped = False
        while not stopped:
            stopped = self._stopped  # the last stage is told too
            try:
                self._send()
                said = ""
            except OSError as error:
                if describe(error) != said:
                    said = describe(error)
                    self._console.say(f"progress was not staged: {said}")
            if not stopped:
                self._changed.wait(PROGRESS_PERIOD)
                self._changed.clear()

    def _send(self) -> None:
        url = self._urls().get(job.PROGRESS)
        if url:
            data = canonical(job.Progress(self._stage, round(self._elapsed(), 1), self._bytes))
            put(url, io.BytesIO(data), len(data), timeout=PROGRESS_PERIOD)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Sends in the background as long as the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped = True
            self._changed.set()
            thread.join(timeout=2.0)  # no longer: a store that doesn't answer must not hold the pod
