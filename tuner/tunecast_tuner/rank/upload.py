"""Stages objects through presigned URLs, a rank's only access to S3."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tunecast_core.errors import StoreError, UrlExpiredError
from tunecast_core.records import job
from tunecast_core.records.codec import canonical
from tunecast_core.store.presigned import put
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.failures import AttemptError

TRIES = 6
RENEWAL_SECONDS = 180.0  # time within which an expired URL must be renewed
LOOK_SECONDS = 1.0  # seconds between two checks for a renewed URL
PROGRESS_PERIOD = 5.0  # seconds between two progress records
Settings = Callable[[], job.JobSettings]  # reads the settings again, since the operator renews the URLs


def waits(tries: int = TRIES, jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Returns the pause in seconds before each retry: 1, 2, 4 ..., each randomly reduced by up to half."""
    return (2.0**number * (0.5 + jitter() / 2) for number in range(tries - 1))


def upload(
    settings: Settings,
    name: str,
    open_body: Callable[[], BinaryIO],
    size: int,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Stages one object. Every error of the store is retried, since it may be temporary.

    If the URL has expired, the next try waits for a renewed URL.

    Raises:
        AttemptError: UPLOAD_FAILED, with the last error but without the URL, whose query is a credential.
    """
    pauses = waits()
    while True:
        found = settings()
        url = _url(found, name)
        try:
            with open_body() as body:
                put(url, body, size, transport=found.transport)
        except StoreError as error:
            pause = next(pauses, None)
            if pause is None:
                raise AttemptError(job.UPLOAD_FAILED, f"{name} was not staged after {TRIES} tries: {error}") from error
            if isinstance(error, UrlExpiredError):
                _await_renewal(settings, name, url, error, sleep)
            else:
                sleep(pause)
        else:
            return


def _url(settings: job.JobSettings, name: str) -> str:
    url = settings.uploads.get(name)
    if url is None:
        raise AttemptError(job.UPLOAD_FAILED, f"the settings hold no URL for {name}: the operator should presign it")
    return url


def _await_renewal(
    settings: Settings, name: str, old: str, error: UrlExpiredError, sleep: Callable[[float], None]
) -> None:
    """Waits for a renewed URL. The kubelet updates a mounted Secret within about two minutes."""
    for _ in range(int(RENEWAL_SECONDS / LOOK_SECONDS)):
        if _url(settings(), name) != old:
            return
        sleep(LOOK_SECONDS)
    raise AttemptError(
        job.UPLOAD_FAILED,
        f"{name} was not staged: {error}. No renewed URL came within {RENEWAL_SECONDS:.0f} s: does the operator run?",
    )


def upload_file(settings: Settings, name: str, path: Path) -> None:
    """Stages a file; see ``upload``."""
    upload(settings, name, lambda: path.open("rb"), path.stat().st_size)


def upload_bytes(settings: Settings, name: str, data: bytes) -> None:
    """Stages a small object; see ``upload``."""
    upload(settings, name, lambda: io.BytesIO(data), len(data))


class ProgressReporter:
    """Stages the progress of rank 0 every few seconds and at each change. Failures are only logged."""

    def __init__(self, settings: Settings, console: Console, elapsed: Callable[[], float]) -> None:
        self._settings = settings
        self._console = console
        self._elapsed = elapsed
        self._bytes = 0
        self._stage: job.Stage = "Joining"
        self._changed = threading.Event()
        self._stopped = False

    def enter(self, stage: job.Stage, text: str, size: int | None = None) -> None:
        """Enters and logs a new stage. ``size`` is the size of the bundle in bytes, once it is known."""
        self._stage = self._console.stage = stage
        self._bytes = self._bytes if size is None else size
        self._console.log(text)
        self._changed.set()

    def _run(self) -> None:
        logged = ""
        stopped = False
        while not stopped:
            stopped = self._stopped  # read first, so that the last stage is sent, too
            try:
                self._send()
                logged = ""
            except StoreError as error:
                if str(error) != logged:
                    logged = str(error)
                    self._console.log(f"progress was not staged: {logged}")
            if not stopped:
                self._changed.wait(PROGRESS_PERIOD)
                self._changed.clear()

    def _send(self) -> None:
        settings = self._settings()
        url = settings.uploads.get(job.PROGRESS)
        if url:
            data = canonical(job.Progress(self._stage, round(self._elapsed(), 1), self._bytes))
            put(url, io.BytesIO(data), len(data), PROGRESS_PERIOD, settings.transport)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Stages the progress in the background while the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped = True
            self._changed.set()
            thread.join(timeout=2.0)  # a store that doesn't answer must not delay the end of the pod
