"""An HTTP server of a test's own, in a thread beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Waits for no client as it ends."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that leave early: they are none of a test's business."""


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serves until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
