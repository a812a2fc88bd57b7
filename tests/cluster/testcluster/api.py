"""A small Kubernetes client for the calls that starting a cluster needs."""

import json
import ssl
import urllib.request
from typing import Any

from testcluster.state import Cluster


class Api:
    def __init__(self, cluster: Cluster) -> None:
        config = json.loads(cluster.kubeconfig.read_text())
        self._server = cluster.server
        self._token = config["users"][0]["user"]["token"]
        self._tls = ssl.create_default_context(cafile=str(cluster.state / "pki/ca.crt"))
        handler = urllib.request.HTTPSHandler(context=self._tls)
        # The host's proxy settings are not for a cluster on the same machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)

    def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/strategic-merge-patch+json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, data, headers, method=method)
        with self._opener.open(request, timeout=5) as answer:
            raw = answer.read()
            return json.loads(raw) if raw.startswith(b"{") else raw.decode()

    def ready(self) -> bool:
        return bool(self._find("/readyz") == "ok")

    def _find(self, path: str) -> Any:
        try:
            return self.call("GET", path)
        except OSError:  # refused, no answer in time, or not found
            return None

    def takes_pods(self) -> bool:
        """Returns whether the default namespace has its service account, without which it refuses every pod."""
        return self._find("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def node_ready(self, name: str) -> bool:
        node = self._find(f"/api/v1/nodes/{name}") or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
