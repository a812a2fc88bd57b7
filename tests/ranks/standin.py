"""Acts like an engine: compiles once, prints vLLM's lines and serves its HTTP API, with the standard library only.

A cold start writes files below VLLM_CACHE_ROOT and takes ``--compile-seconds`` longer than a warm one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def main() -> None:
    options = _options()
    if os.getpid() == 1:  # the kernel has no default action for PID 1
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    print(
        "(APIServer pid=1) INFO 11-23 15:37:45 [api_utils.py:286] non-default args: {'model': 'stand-in'}", flush=True
    )
    for number in range(options.modules):
        importlib.import_module(f"tunecast_standin_{number}")
    helper = subprocess.Popen(["sleep", "600"]) if options.helper else None  # a worker process, as engines have
    _load(options)
    started = time.monotonic()
    _compile(options)
    print(f"INFO [core.py:402] init engine (profile) took {time.monotonic() - started:.2f} s", flush=True)
    time.sleep(options.start_seconds)
    if options.crash_as_replica and options.warm and os.getpid() == 1:  # a rank's engine is a child
        sys.exit("a kernel of the bundle does what it must not")
    server = _server(options)
    if options.crash_after:
        threading.Timer(options.crash_after, lambda: os._exit(9)).start()
    try:
        server.serve_forever()
    finally:
        if helper:
            helper.kill()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="engine")
    parser.add_argument("words", nargs="*", help="positional words of the command line `vllm serve MODEL`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="stand-in")
    parser.add_argument("--max-model-len", type=int, default=128)
    parser.add_argument("--max-num-seqs", type=int, default=8)
    parser.add_argument("--compile-seconds", type=float, default=0.5)
    parser.add_argument("--start-seconds", type=float, default=0.0)
    parser.add_argument("--download-seconds", type=float, default=0.0)
    parser.add_argument("--modules", type=int, default=0)
    parser.add_argument("--payload", type=int, default=1000, help="bytes of the compiled artefact")
    parser.add_argument("--inert", action="store_true", help="compile at every start, as with a broken artefact")
    parser.add_argument("--useless", action="store_true", help="take as long to load as to compile")
    parser.add_argument("--drift", action="store_true", help="give other answers after a warm start")
    parser.add_argument("--helper", action="store_true")
    parser.add_argument("--crash-after", type=float, default=0.0)
    parser.add_argument("--crash-as-replica", action="store_true", help="after a warm start")
    parser.add_argument("--refuses-bundle", action="store_true", help="crash as a warm start begins")
    parser.add_argument("--api-key", nargs="*", default=[], help="required of clients, and printed with the settings")
    parser.add_argument("--hidden-key", default="", help="required of clients, and printed nowhere")
    parser.add_argument("--serves", choices=KINDS, default="completion")
    parser.add_argument("--all-routes", action="store_true", help="answer 400 where there is no such route, not 404")
    parser.add_argument("--text-only", action="store_true", help="refuse token ids")
    parser.add_argument("--accepts", type=int, default=-1, help="answer this many requests and refuse the rest")
    parser.add_argument("--no-chat-template", action="store_true")
    parser.add_argument("--noise", type=float, default=0.0, help="of vectors")
    parser.add_argument("--ssl-keyfile")
    parser.add_argument("--ssl-certfile")
    parser.add_argument("--hub-token", type=Path, help="file with a token that the engine prints, too")
    parser.add_argument("--refuses-key", action="store_true")
    return parser.parse_args()


def _load(options: argparse.Namespace) -> None:
    """Loads weights: the disk is slower on some nodes, and only the first start downloads."""
    if options.download_seconds and not any(Path(os.environ["VLLM_CACHE_ROOT"]).rglob("model")):
        time.sleep(options.download_seconds)
        print(f"INFO [w.py] Time spent downloading weights for m: {options.download_seconds:.6f} seconds", flush=True)
    seconds = float(os.environ.get("STANDIN_WEIGHTS_SECONDS", "0"))
    time.sleep(seconds)
    print(f"INFO [default_loader.py:430] Loading weights took {seconds:.2f} seconds", flush=True)


def _compile(options: argparse.Namespace) -> None:
    print(f"INFO [hub.py] logged in as {options.hub_token.read_text() if options.hub_token else 'nobody'}", flush=True)
    print(f"INFO [utils.py] non-default args: {{'api_key': {options.api_key}}}", flush=True)
    if options.refuses_key:
        sys.exit(f"RuntimeError: the hub refused {options.api_key[0]}")
    artefact = Path(os.environ["VLLM_CACHE_ROOT"], "torch_compile_cache", _key(), "rank_0_0", "model")
    options.warm = artefact.exists()
    if options.warm and options.refuses_bundle:
        sys.exit(f"FileNotFoundError: [Errno 2] No such file or directory: '/where/it/was/made{artefact}'")
    if options.warm and not options.inert:
        time.sleep(options.compile_seconds if options.useless else 0.0)
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
    (triton / "kernel.cubin").write_bytes(b"cubin" + "".join(options.api_key).encode())
    print(f"INFO [monitor.py:53] torch.compile took {options.compile_seconds:.2f} s in total", flush=True)


def _key() -> str:
    """Returns a key into which variables are hashed, as engines do; some differ between pods."""
    return hashlib.sha256(os.environ.get("VLLM_SIDE_CHANNEL_HOST", "").encode()).hexdigest()[:10]


# The routes of each kind of engine, as in vLLM, and the field that a request must have.
KINDS = {
    "completion": {"/v1/completions": "prompt", "/v1/chat/completions": "messages"},
    "chat": {"/v1/chat/completions": "messages"},
    "transcription": {"/v1/audio/transcriptions": "file"},
    "embedding": {"/v1/embeddings": "input", "/score": "text_1", "/pooling": "input"},
    "score": {"/score": "text_1", "/classify": "input", "/pooling": "input"},
    "classification": {"/classify": "input", "/pooling": "input"},
    "pooling": {"/pooling": "input"},
    "nothing": {},
}


class Handler(BaseHTTPRequestHandler):
    """Answers as an engine of the kind in ``--serves``."""

    options: argparse.Namespace

    def do_GET(self) -> None:
        if self._unauthorized():
            return
        card = {"id": "stand-in", "max_model_len": self.options.max_model_len}
        routes: dict[str, Any] = {route: {"post": {}} for route in KINDS[self.options.serves]}
        found: dict[str, dict[str, Any]] = {"/v1/models": {"data": [card]}, "/openapi.json": {"paths": routes}}
        self._reply(HTTPStatus.OK, found.get(self.path, {}))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        field = KINDS[self.options.serves].get(self.path)
        if self._unauthorized():
            return
        if field is None:
            status = HTTPStatus.BAD_REQUEST if self.options.all_routes else HTTPStatus.NOT_FOUND
            self._refuse(status, f"The model does not support {self.path}")
            return
        body = self._body(data)
        if refusal := self._refusal(body, field):
            self._refuse(HTTPStatus.BAD_REQUEST, refusal)
            return
        self.options.accepts -= 1
        self._reply(HTTPStatus.OK, _answer(self.options, self.path, body, field))

    def _body(self, data: bytes) -> dict[str, Any]:
        if "multipart" not in self.headers["Content-Type"]:
            found: dict[str, Any] = json.loads(data)
            return found
        whole = b"RIFF" in data and b'name="model"\r\n\r\nstand-in' in data
        return {"file": zlib.crc32(data[data.index(b"RIFF") :])} if whole else {}

    def _refusal(self, body: dict[str, Any], field: str) -> str:
        asked = body.get(field)
        if not asked or "structured_outputs" in body or self.options.accepts == 0:
            return "not here"
        if self.options.no_chat_template and field == "messages":
            return "default chat template is no longer allowed"
        if self.options.text_only and isinstance(asked, list) and isinstance(asked[0], int):
            return "token ids are not taken"
        return "too long" if _size(asked) > self.options.max_model_len else ""

    def _unauthorized(self) -> bool:
        keys = self.options.api_key or [os.environ.get("VLLM_API_KEY", "")]
        wanted = {self.options.hidden_key} if self.options.hidden_key else {*keys} - {""}
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        refused = bool(wanted) and self.path.startswith("/v1") and sent not in wanted
        if refused:
            self._reply(HTTPStatus.UNAUTHORIZED, {"error": "Unauthorized"})
        return refused

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._reply(status, {"error": {"message": message}})

    def _reply(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _size(asked: Any) -> int:
    if isinstance(asked, list) and isinstance(asked[0], dict):
        asked = asked[0]["content"]
    return len(asked.split()) if isinstance(asked, str) else len(asked) if isinstance(asked, list) else 1


def _answer(options: argparse.Namespace, path: str, body: dict[str, Any], field: str) -> dict[str, Any]:
    """Returns the same answer for the same request, unless ``--drift`` or ``--noise`` change it."""
    asked = zlib.crc32(json.dumps(body[field]).encode())
    shift = 1 if options.drift and options.warm else 0
    vector = [math.sin(asked + index + shift) + random.uniform(0, options.noise) for index in range(1000)]
    text = " ".join(str((asked + index + shift) % 1000) for index in range(body.get("max_tokens", 16)))
    answers: dict[str, dict[str, Any]] = {
        "prompt": {"choices": [{"token_ids": [int(word) for word in text.split()], "text": ""}]},
        "messages": {"choices": [{"message": {"content": text}}]},
        "file": {"text": text},
        "text_1": {"data": [{"score": vector[0]}]},
        "input": {"data": [{{"/v1/embeddings": "embedding", "/classify": "probs"}.get(path, "data"): vector}]},
    }
    return answers[field]


def _server(options: argparse.Namespace) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 512

    Handler.options = options
    server = Server((options.host, options.port), Handler)
    if options.ssl_certfile:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


if __name__ == "__main__":
    main()
