"""Checks the store when the operator starts, and logs what an administrator has to change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tunecast_core.errors import TunecastError

log = logging.getLogger(__name__)
PAUSE_SECONDS = 60.0


def check_until_passed(
    check: Callable[[], None], failed: Callable[[str], None], stopped: threading.Event, pause: float = PAUSE_SECONDS
) -> None:
    """Repeats ``check`` until it passes, and logs each new failure. Nothing waits for it.

    Args:
        check: raises TunecastError with what to change.
        failed: called with the reason of each failure.
        stopped: ends the checks.
        pause: seconds between two checks.
    """
    logged = ""
    while not stopped.is_set():
        try:
            check()
        except TunecastError as error:
            failed(error.reason)
            if str(error) != logged:
                logged = str(error)
                log.warning("The check of the store failed, and is repeated every %.0f s: %s", pause, logged)
            stopped.wait(pause)
        else:
            log.info("The check of the store passed: uploads, reads, conditional writes and copies, deletions")
            return
