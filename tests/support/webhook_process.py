"""Runs the whole webhook as a separate process that a real API server calls."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.deploy import ROOT
from harness.kubectl import Kubectl, Object, wait_for
from support.admission import service
from support.chart import render
from support.operator_process import answers, free_port
from tunecast_operator import times
from tunecast_operator.resources.certificate import IssuedCertificate, issue, service_names

SERVICE = SECRET = "tunecast-webhook"


class Release:
    """The chart's objects for a webhook on this host: a namespace, a Service, a Secret and a configuration."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace
        self.address = kubectl.environment["TUNECAST_HOST_ADDRESS"]
        self.port, self.health_port, self.metrics_port = (free_port() for _ in range(3))
        self.certificate = self.new_certificate()
        kubectl("create", "namespace", namespace)
        kubectl.apply(service(SERVICE, namespace, self.address), self._configuration())

    def new_certificate(self) -> IssuedCertificate:
        """Issues a certificate that the API server doesn't trust before ``install`` installs it."""
        return issue(service_names(SERVICE, self.namespace), times.utc_now())

    def install(self, certificate: IssuedCertificate) -> None:
        """Writes the Secret and the configuration."""
        self.certificate = certificate
        self.put(certificate.data)
        self.kubectl.apply(self._configuration())

    def put(self, data: Mapping[str, str]) -> None:
        """Writes only the Secret."""
        metadata = {"name": SECRET, "namespace": self.namespace}
        self.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": dict(data)})

    def uninstall(self) -> None:
        """Deletes the objects, of which the configuration is not in the namespace."""
        self.kubectl("delete", "mutatingwebhookconfiguration", self.namespace, "--ignore-not-found")
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def _configuration(self) -> Object:
        """Returns the chart's configuration, with the process's port and authority."""
        found = render(self.kubectl)["MutatingWebhookConfiguration", "t-webhook"]
        [one] = found["webhooks"]
        called = {"name": SERVICE, "namespace": self.namespace, "path": "/mutate", "port": self.port}
        bundle = self.certificate.data["ca.crt"]
        webhook = {**one, "clientConfig": {"service": called, "caBundle": bundle}}
        return {**found, "metadata": {"name": self.namespace}, "webhooks": [webhook]}

    @property
    def url(self) -> str:
        """The address of the kubelet's probes and of nothing else."""
        return f"http://127.0.0.1:{self.health_port}"

    @property
    def ready(self) -> bool:
        return answers(f"{self.url}/readyz")

    def environment(self, kubeconfig: str, **more: str) -> dict[str, str]:
        """Returns the chart's variables, and a kubeconfig to connect with."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("operator", "core")),
            "KUBECONFIG": kubeconfig,
            "TUNECAST_NAMESPACE": self.namespace,
            "TUNECAST_INIT_IMAGE": "init:1",
            "TUNECAST_WEBHOOK_SECRET": SECRET,
            "TUNECAST_WEBHOOK_PORT": str(self.port),
            "TUNECAST_HEALTH_PORT": str(self.health_port),
            "TUNECAST_METRICS_PORT": str(self.metrics_port),
            **more,
        }

    @contextmanager
    def process(self, folder: Path, kubeconfig: str = "", **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs the webhook, which logs to ``folder``, until the block ends; it need not be ready at once."""
        command = [sys.executable, "-m", "tunecast_operator.webhook"]
        variables = self.environment(kubeconfig or self.kubectl.environment["KUBECONFIG"], **more)
        with (folder / "log").open("ab") as log, subprocess.Popen(command, env=variables, stderr=log) as found:
            try:
                wait_for(lambda: answers(f"{self.url}/healthz"), "the webhook runs", 30, every=0.1)
                yield found
            finally:
                found.send_signal(signal.SIGTERM)
                found.wait(20)

    def connection(self) -> http.client.HTTPSConnection:
        """Returns a connection to the webhook that trusts the current authority, and that stays open."""
        context = ssl.create_default_context(cadata=self.certificate.authority.decode())
        context.check_hostname = False
        made = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        made.connect()
        return made


def reviewed(pod: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Returns the review in which an API server asks about a new pod."""
    request = {"uid": "review", "namespace": namespace, "operation": "CREATE", "object": pod}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
