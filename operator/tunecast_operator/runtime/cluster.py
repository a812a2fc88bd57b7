"""Client of the Kubernetes API for JSON objects. Every call has a time-out."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import urllib3
from kubernetes import client, config

from tunecast_core.errors import TunecastError
from tunecast_operator.api.groups import GROUP, VERSION

FIELD_MANAGER = "tunecast"
_NOT_TYPED = "failed to create typed patch object"  # server-side apply answers 500 for an unknown or duplicate field
QUIET_SECONDS = 90.0  # time without data after which a watch is broken: API servers send a bookmark each minute
Object = dict[str, Any]


class ClusterError(TunecastError):
    reason = "KubernetesFailed"


class ConflictError(ClusterError):
    """The object was changed since it was read. Read it again."""

    reason = "Conflict"


class ExistsError(ConflictError):
    """An object of that name exists already."""


class WatchExpiredError(ClusterError):
    """The API server no longer knows the version that a watch was to go on from: list again."""

    reason = "WatchExpired"


class RejectedError(ClusterError):
    """The API server rejects the object: quota, admission, validation or RBAC."""

    reason = "Rejected"


@dataclass(frozen=True, slots=True)
class Kind:
    api: str  # "api/v1" or "apis/<group>/<version>"
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        return self.api.split("/", 1)[1]


INFERENCE_DEPLOYMENT = Kind(f"apis/{GROUP}/{VERSION}", "inferencedeployments", "InferenceDeployment")
STARTUP_CACHE = Kind(f"apis/{GROUP}/{VERSION}", "startupcaches", "StartupCache")
DEPLOYMENT = Kind("apis/apps/v1", "deployments", "Deployment")
REPLICA_SET = Kind("apis/apps/v1", "replicasets", "ReplicaSet")
STATEFUL_SET = Kind("apis/apps/v1", "statefulsets", "StatefulSet")
SERVICE = Kind("api/v1", "services", "Service")
CONFIG_MAP = Kind("api/v1", "configmaps", "ConfigMap")
SECRET = Kind("api/v1", "secrets", "Secret")
POD = Kind("api/v1", "pods", "Pod")
JOB = Kind("apis/batch/v1", "jobs", "Job")
NODE = Kind("api/v1", "nodes", "Node")
EVENT = Kind("api/v1", "events", "Event")
MUTATING_WEBHOOK_CONFIGURATION = Kind(
    "apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
)


class Cluster:
    """Reads return None if the object doesn't exist. Writes are idempotent."""

    def __init__(
        self, api: client.ApiClient, timeout_seconds: float = 10.0, quiet_seconds: float = QUIET_SECONDS
    ) -> None:
        self._api, self._timeout, self._quiet = api, timeout_seconds, quiet_seconds

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._call("GET", kind, namespace, name)

    def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        """Lists objects of a kind in a namespace ("" for all) that match ``selector``, uncached."""
        found = self._call("GET", kind, namespace, query={"labelSelector": selector} if selector else {})
        return [self._typed(kind, item) for item in (found or {}).get("items", [])]

    def list_with_version(
        self, kind: Kind, namespace: str, labels: str = "", fields: str = ""
    ) -> tuple[builtins.list[Object], str]:
        """The objects that both selectors pick, and the resourceVersion from which ``watch`` goes on.

        A right to list and watch objects of one name covers lists whose ``fields`` name it.

        Raises:
            ClusterError: the API server refuses, doesn't answer, or doesn't serve the kind, such as while it starts.
        """
        found = self._call("GET", kind, namespace, query=_selecting(labels, fields))
        if found is None:
            raise ClusterError(f"LIST {kind.name} {namespace}/*: the API server doesn't serve {kind.plural}")
        items = [self._typed(kind, item) for item in found.get("items", [])]
        return items, str(found.get("metadata", {}).get("resourceVersion", ""))

    def watch(
        self, kind: Kind, namespace: str, labels: str, fields: str, version: str, seconds: int
    ) -> Iterator[tuple[str, Object]]:
        """Yields (type, object) for every change after ``version``, for ``seconds``.

        Raises:
            ClusterError: the API server refuses, the connection broke, or nothing came for a while.
            WatchExpiredError: it no longer knows ``version``.
        """
        path = "/" + "/".join([kind.api, *(["namespaces", quote(namespace)] if namespace else []), kind.plural])
        query = {
            **_selecting(labels, fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        what = f"WATCH {kind.name} {namespace}/*"
        try:
            response = self._api.call_api(
                path, "GET", query_params=list(query.items()), header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"], _preload_content=False, _request_timeout=(self._timeout, self._quiet),
            )  # fmt: skip
            try:
                for line in lines_of(response.stream()):
                    yield watched_event(json.loads(line), what)
            finally:
                response.close()
        except client.ApiException as error:
            raise _translated(error, what) from error
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ClusterError(f"{what}: the connection to the API server broke: {error}") from error

    def events_about(self, namespace: str, uid: str) -> builtins.list[Object]:
        """Lists the Events about one object."""
        found = self._call("GET", EVENT, namespace, query={"fieldSelector": f"involvedObject.uid={uid}"})
        items: builtins.list[Object] = (found or {}).get("items", [])
        return items

    def serves(self, kind: Kind) -> bool:
        """Whether the API server serves the kind, so that its CustomResourceDefinition is installed."""
        try:
            response = self._api.call_api(
                f"/{kind.api}", "GET", header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"], _preload_content=False, _request_timeout=self._timeout,
            )  # fmt: skip
        except client.ApiException as error:
            if error.status == 404:  # noqa: PLR2004
                return False
            raise _translated(error, f"GET {kind.api}") from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"GET {kind.api}: the API server did not answer: {error}") from error
        return any(found["name"] == kind.plural for found in json.loads(response.data)["resources"])

    def create(self, kind: Kind, item: Object) -> bool:
        """Creates an object. Returns False if one of that name exists already.

        Raises:
            ConflictError: the namespace is gone, or a quota changed at the same time. Try again.
        """
        try:
            self._call("POST", kind, item["metadata"]["namespace"], body=item, query={"fieldManager": FIELD_MANAGER})
        except ExistsError:
            return False
        return True

    def apply(self, kind: Kind, item: Object) -> Object:
        """Applies ``item`` on the server: its fields become ours, all others keep their owners. Returns the result."""
        made = self._call(
            "PATCH", kind, item["metadata"].get("namespace", ""), item["metadata"]["name"],
            body=item, query={"fieldManager": FIELD_MANAGER, "force": "true"}, content="application/apply-patch+yaml",
        )  # fmt: skip
        return made or {}

    def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> None:
        """Applies a merge patch. Null removes a field, even if another field manager owns it."""
        self._call(
            "PATCH", kind, namespace, name,
            body=patch, query={"fieldManager": FIELD_MANAGER}, content="application/merge-patch+json",
        )  # fmt: skip

    def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        self._call(
            "PATCH", kind, namespace, name, subresource="scale", body={"spec": {"replicas": replicas}},
            query={"fieldManager": FIELD_MANAGER}, content="application/merge-patch+json",
        )  # fmt: skip

    def update_status(self, kind: Kind, item: Object) -> None:
        """Writes the whole status if the object hasn't changed since it was read.

        Raises:
            ConflictError: the object has changed.
        """
        self._call(
            "PUT", kind, item["metadata"]["namespace"], item["metadata"]["name"],
            subresource="status", body=item, query={"fieldManager": FIELD_MANAGER},
        )  # fmt: skip

    def delete(self, kind: Kind, namespace: str, name: str, uid: str | None = None) -> None:
        """Deletes an object and its children in the background, unless it is gone or has another ``uid``."""
        body: Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._call("DELETE", kind, namespace, name, body=body)
        except ConflictError:
            return

    def _call(
        self,
        method: str,
        kind: Kind,
        namespace: str,
        name: str = "",
        *,
        subresource: str = "",
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> Object | None:
        parts = [kind.api, *(["namespaces", quote(namespace)] if namespace else []), kind.plural]
        path = "/" + "/".join([*parts, *([quote(name)] if name else []), *([subresource] if subresource else [])])
        what = f"{method} {kind.name} {namespace + '/' if namespace else ''}{name or '*'}"
        try:
            response = self._api.call_api(
                path, method, query_params=list((query or {}).items()), body=body,
                header_params={"Accept": "application/json", "Content-Type": content},
                auth_settings=["BearerToken"], _preload_content=False, _request_timeout=self._timeout,
            )  # fmt: skip
            return cast("Object", json.loads(response.data))
        except client.ApiException as error:
            if error.status == 404:  # noqa: PLR2004
                return self._missing(method, what, error)
            raise _translated(error, what) from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{what}: the API server did not answer: {error}") from error

    @staticmethod
    def _missing(method: str, what: str, error: client.ApiException) -> None:
        if method in {"GET", "DELETE"}:
            return
        raise ConflictError(f"{what}: the object or its namespace is gone") from error

    @staticmethod
    def _typed(kind: Kind, item: Object) -> Object:
        return {"apiVersion": kind.api_version, "kind": kind.name, **item}


def _selecting(labels: str, fields: str) -> dict[str, str]:
    return {**({"labelSelector": labels} if labels else {}), **({"fieldSelector": fields} if fields else {})}


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields whole lines; a last one without an end is left out."""
    left = b""
    for chunk in chunks:
        *lines, left = (left + chunk).split(b"\n")
        yield from lines


def watched_event(event: Object, what: str) -> tuple[str, Object]:
    """The type and the object of an event of a watch.

    Raises:
        ClusterError: it reports that the watch failed.
    """
    if event["type"] == "ERROR":
        status = event["object"]
        kind = WatchExpiredError if status.get("code") == 410 else ClusterError  # noqa: PLR2004
        raise kind(f"{what}: {status.get('message')}")
    return event["type"], event["object"]


def _translated(error: client.ApiException, what: str) -> ClusterError:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    try:
        status = json.loads(body)
    except ValueError:
        status = {}
    message = str(status.get("message", body))
    if error.status == 409:  # noqa: PLR2004
        kind = ExistsError if status.get("reason") == "AlreadyExists" else ConflictError
        return kind(f"{what}: {message}")
    if error.status in {400, 403, 413, 422} or _NOT_TYPED in message:
        return RejectedError(f"{what}: {message}")
    return ClusterError(f"{what}: {error.status} {message}")


def connect(workers: int, kubeconfig: str | None = None) -> Cluster:
    """Connects with ``kubeconfig`` if given, else with the pod's service account, else with the user's kubeconfig."""
    settings = client.Configuration()
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(client_configuration=settings)
    else:
        config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
    settings.retries = False
    settings.connection_pool_maxsize = workers + 1
    return Cluster(client.ApiClient(settings))
