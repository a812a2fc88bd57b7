"""A model's config.json, fetched with the real library from a hub that fails."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ranks.attempt import interpreter, site_packages
from tunecast_core.records import job

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
ASK = """
import time
time.sleep = lambda _seconds: None  # the library tries five times, and would wait for 23 seconds in all
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.flashinfer_ops import config
try:
    print(config.load("some/model", "main"))
except AttemptError as failure:
    print(failure.reason, failure)
"""


CONFIG = b'{"hidden_size": 1}'


@contextmanager
def hub(status: int, code: str, *, has_config: bool = False) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if has_config and self.path.endswith("/config.json"):
                self._config()
                return
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - as the standard library wants it

        def _config(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(CONFIG)))
            self.end_headers()
            self.wfile.write(CONFIG if self.command == "GET" else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "variables", "reason"),
    [
        (404, "RepoNotFound", {}, job.BAD_SETTINGS),
        (404, "EntryNotFound", {}, job.BAD_SETTINGS),
        (403, "GatedRepo", {}, job.BAD_SETTINGS),
        (503, "", {}, job.ENGINE_CRASHED),
        (404, "", {"HF_ENDPOINT": "http://127.0.0.1:9"}, job.ENGINE_CRASHED),
        (404, "", {"HF_HUB_OFFLINE": "1"}, job.BAD_SETTINGS),
    ],
    ids=["no such model", "no such file", "gated", "unavailable", "unreachable", "offline"],
)
def test_only_temporary_errors_of_the_hub_are_retried(
    tmp_path: Path, status: int, code: str, variables: dict[str, str], reason: str
) -> None:
    with hub(status, code) as address:
        printed = asked(tmp_path, {"HF_ENDPOINT": address, **variables})
    assert printed.split()[0] == reason, printed
    assert "No module named" not in printed


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(404, "EntryNotFound", "{'hidden_size': 1}"), (503, "", job.ENGINE_CRASHED + " the hf_quant_config.json")],
    ids=["no such file", "unavailable"],
)
def test_a_file_that_few_models_have(tmp_path: Path, status: int, code: str, words: str) -> None:
    with hub(status, code, has_config=True) as address:
        assert asked(tmp_path, {"HF_ENDPOINT": address}).startswith(words)


def asked(home: Path, variables: dict[str, str]) -> str:
    path = f"{ROOT}/tuner:{ROOT}/core:{site_packages()}"
    environment = {"HF_HOME": str(home), "PYTHONPATH": path, **variables}
    done = subprocess.run([interpreter(), "-c", ASK], env=environment, check=True, stdout=subprocess.PIPE, timeout=60)
    return done.stdout.decode()
