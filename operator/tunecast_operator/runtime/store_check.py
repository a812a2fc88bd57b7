"""The check of the store when the operator starts: whoever installed it reads in the log what to change."""

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
    """Repeats ``check`` until it passes once, logging each new failure. Nothing else waits for it.

    Args:
        check: raises TunecastError, with what to change.
        failed: is called with the reason of each failure.
        stopped: ends it early.
        pause: seconds between two checks.
    """
    said = ""
    while not stopped.is_set():
        try:
            check()
        except TunecastError as error:
            failed(error.reason)
            if str(error) != said:
                said = str(error)
                log.warning("The check of the store failed, and is repeated every %.0f s: %s", pause, said)
            stopped.wait(pause)
        else:
            log.info("The check of the store passed: uploads, reads, conditional writes and copies, deletions")
            return
