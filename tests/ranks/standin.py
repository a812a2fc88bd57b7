"""Acts like an engine, with the standard library alone: compiles once, prints vLLM's lines, serves its HTTP API.

A cold start writes files below VLLM_CACHE_ROOT and takes ``--compile-seconds`` longer than a warm one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def main() -> None:
    options = _options()
    if os.getpid() == 1:  # for whom the kernel has no default action
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    print(
        "(APIServer pid=1) INFO 11-23 15:37:45 [api_utils.py:286] non-default args: {'model': 'stand-in'}", flush=True
    )
    for number in range(options.modules):
        importlib.import_module(f"tunecast_standin_{number}")
    helper = subprocess.Popen(["sleep", "600"]) if options.helper else None  # a worker of its own, as engines have
    started = time.monotonic()
    _compile(options)
    print(f"INFO [core.py:402] init engine (profile) took {time.monotonic() - started:.2f} s", flush=True)
    time.sleep(options.start_seconds)
    if options.crash_as_replica and options.warm and os.getpid() == 1:  # ranks start engines as their children
        sys.exit("a kernel of the bundle does what it must not")
    server = ThreadingHTTPServer((options.host, options.port), _handler(options))
    if options.crash_after:
        threading.Timer(options.crash_after, lambda: os._exit(9)).start()
    try:
        server.serve_forever()
    finally:
        if helper:
            helper.kill()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="engine")
    parser.add_argument("words", nargs="*", help="vllm serve MODEL, so that it is read as vLLM's is")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="stand-in")
    parser.add_argument("--max-model-len", type=int, default=128)
    parser.add_argument("--max-num-seqs", type=int, default=8)
    parser.add_argument("--compile-seconds", type=float, default=0.5)
    parser.add_argument("--start-seconds", type=float, default=0.0)
    parser.add_argument("--modules", type=int, default=0)
    parser.add_argument("--payload", type=int, default=1000, help="bytes of the compiled artefact")
    parser.add_argument("--inert", action="store_true", help="compile at every start, as with a broken artefact")
    parser.add_argument("--drift", action="store_true", help="answer otherwise when warm")
    parser.add_argument("--helper", action="store_true")
    parser.add_argument("--crash-after", type=float, default=0.0)
    parser.add_argument("--crash-as-replica", action="store_true", help="after a warm start")
    parser.add_argument("--refuses-bundle", action="store_true", help="crash as a warm start begins")
    parser.add_argument("--api-key", default="", help="told wherever engines tell things")
    parser.add_argument("--hub-token", type=Path, help="a file, likewise told")
    parser.add_argument("--refuses-key", action="store_true")
    return parser.parse_args()


def _compile(options: argparse.Namespace) -> None:
    print(f"INFO [hub.py] logged in as {options.hub_token.read_text() if options.hub_token else 'nobody'}", flush=True)
    print(f"INFO [utils.py] non-default args: {{'api_key': ['{options.api_key}']}}", flush=True)
    if options.refuses_key:
        sys.exit(f"RuntimeError: the hub refused {options.api_key}")
    artefact = Path(os.environ["VLLM_CACHE_ROOT"], "torch_compile_cache", _key(), "rank_0_0", "model")
    options.warm = artefact.exists()
    if options.warm and options.refuses_bundle:
        sys.exit(f"FileNotFoundError: [Errno 2] No such file or directory: '/where/it/was/made{artefact}'")
    if options.warm and not options.inert:
        print("INFO [decorators.py:311] Directly load AOT compilation from path", artefact, flush=True)
        return
    if options.warm:
        print("WARNING [decorators.py:333] Compiling model again due to a load failure: no attribute", flush=True)
    time.sleep(options.compile_seconds)
    artefact.parent.mkdir(parents=True, exist_ok=True)
    artefact.write_bytes(os.urandom(options.payload))
    (artefact.parent / "cache_key_factors.json").write_text("{}")
    triton = Path(os.environ["TRITON_CACHE_DIR"], "k")
    triton.mkdir(parents=True, exist_ok=True)
    (triton / "kernel.cubin").write_bytes(b"cubin" + options.api_key.encode())
    print("INFO [monitor.py:53] torch.compile took 0.50 s in total", flush=True)


def _key() -> str:
    """Engines hash variables into their keys, some of which differ between pods."""
    return hashlib.sha256(os.environ.get("VLLM_SIDE_CHANNEL_HOST", "").encode()).hexdigest()[:10]


def _handler(options: argparse.Namespace) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            card = {"id": "stand-in", "max_model_len": options.max_model_len}
            self._reply(HTTPStatus.OK, {"data": [card]} if self.path == "/v1/models" else {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "structured_outputs" in body or len(body["prompt"]) > options.max_model_len:
                self._reply(HTTPStatus.BAD_REQUEST, {"error": {"message": "not here"}})
                return
            shift = 1 if options.drift and options.warm else 0
            tokens = [(sum(body["prompt"]) + index + shift) % 1000 for index in range(body.get("max_tokens", 16))]
            self._reply(HTTPStatus.OK, {"choices": [{"token_ids": tokens, "text": ""}]})

        def _reply(self, status: HTTPStatus, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


if __name__ == "__main__":
    main()
