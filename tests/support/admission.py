"""An admission webhook on the host that API servers of control planes without nodes can call, by its Service's name."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.kubectl import Object

CALLED = {"tests.tunecast.io/called": "true"}  # label of the pods that it was called for


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        labels = {**review["request"]["object"]["metadata"].get("labels", {}), **CALLED}
        patch = json.dumps([{"op": "add", "path": "/metadata/labels", "value": labels}])
        response = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(patch.encode()).decode(),
        }
        answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        body = json.dumps(answer).encode()
        self.send_response(200)  # HTTP/1.0: each call has a connection, and so a handshake, of its own
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Ignores clients that refuse the certificate, because they report it themselves."""


class Webhook:
    """Labels pods. Connections that begin after ``load`` get the certificate that was loaded."""

    def __init__(self, address: str, folder: Path) -> None:
        self._file = folder / "chain.pem"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server = _Server((address, 0), _Handler)
        self.server.socket = self._context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def load(self, data: Mapping[str, str]) -> None:
        """Loads the certificate from the data of a TLS Secret."""
        self._file.write_bytes(b"".join(base64.b64decode(data[entry]) for entry in ("tls.key", "tls.crt")))
        self._context.load_cert_chain(self._file)


@contextmanager
def webhook(address: str, folder: Path) -> Iterator[Webhook]:
    """Serves on a free port of ``address`` until the block ends."""
    found = Webhook(address, folder)
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()


def service(name: str, namespace: str, address: str) -> Object:
    """API servers dial ``address`` for it, and expect a certificate for the Service's name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": address},
    }


def configuration(name: str, service_name: str, namespace: str, port: int = 443) -> Object:
    """Asks for pods of ``namespace`` with the label ``tunecast.io/inject``, and refuses them where a call fails."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "pods.tunecast.io",
                "clientConfig": {"service": {"name": service_name, "namespace": namespace, "path": "/", "port": port}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "failurePolicy": "Fail",
                "timeoutSeconds": 3,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "objectSelector": {"matchLabels": {"tunecast.io/inject": "true"}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            }
        ],
    }
