"""The adopted pods of the cluster, by namespace and key, kept in memory by watches."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_operator.adoption.adopted import Adopted, adopted
from tunecast_operator.adoption.as_written import is_injected
from tunecast_operator.adoption.names import DEFAULTS, INJECT, NOT_INJECTED_ANNOTATION
from tunecast_operator.adoption.settings import settings_of, tunes
from tunecast_operator.identity import DEPLOYMENT_LABEL
from tunecast_operator.plan.adopted_states import AdoptedState, adopted_state
from tunecast_operator.pods import Pod, init_report, over
from tunecast_operator.pods import key as pod_key
from tunecast_operator.runtime.cluster import CONFIG_MAP, POD, Cluster
from tunecast_operator.runtime.informer import Informer

log = logging.getLogger(__name__)
ADOPTED_PODS = "AdoptedPods"  # kind of the items in the queue; their names are keys
NO_KEY = ""  # of pods that can't be described


@dataclass(frozen=True, slots=True)
class AdoptedPod:
    """An adopted pod that isn't over.

    Attributes:
        pod: as the API server returned it.
        key: the key that the webhook gave it, else the one that it would have given; empty where it can't be described.
        injected: whether the webhook injected it.
        problem: the reason in one word, and the message, why it can't be described.
    """

    pod: Pod
    key: str
    injected: bool
    problem: tuple[str, str] = ("", "")


class AdoptedPods:
    """Thread-safe. ``enqueue`` is called with a namespace and a key when pods of them change."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Sequence[str],
        chart: Mapping[str, str],
        enqueue: Callable[[str, str], None],
        excluded: Iterable[str] = (),
    ) -> None:
        """``excluded`` are namespaces whose pods the webhook never sees."""
        self._chart, self._enqueue = chart, enqueue
        self._excluded = frozenset(excluded)
        self._changes = threading.RLock()  # the two informers change views one after the other
        self._lock = threading.Lock()
        self._pods: dict[tuple[str, str], dict[str, AdoptedPod]] = defaultdict(dict)
        self._counted: set[str] = set()  # namespaces that have had adopted pods since the operator started
        self._defaults = Informer(
            cluster, CONFIG_MAP, namespaces, fields=f"metadata.name={DEFAULTS}", changed=self._defaults_changed
        )
        self._informer = Informer(cluster, POD, namespaces, labels=INJECT, changed=self._pod_changed)

    def start(self) -> None:
        """Begins to watch."""
        self._defaults.start()
        self._informer.start()

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once."""
        return self._defaults.synced and self._informer.synced

    def refresh(self, namespace: str = "") -> None:
        """Lists once, without watching."""
        self._defaults.relist(namespace)
        self._informer.relist(namespace)

    def of_key(self, namespace: str, key: str) -> list[AdoptedPod]:
        """The pods with this key, or that can't be described where it is empty; the oldest first."""
        with self._lock:
            found = list(self._pods.get((namespace, key), {}).values())
        return sorted(
            found, key=lambda one: (one.pod["metadata"].get("creationTimestamp", ""), one.pod["metadata"]["name"])
        )

    def places(self) -> list[tuple[str, str]]:
        """All namespaces and keys that have pods."""
        with self._lock:
            return list(self._pods)

    def counts(self, has_cache: Callable[[str, str], bool]) -> dict[str, Counter[AdoptedState]]:
        """Counts pods by namespace and state, also in namespaces that have none any more.

        Args:
            has_cache: whether a StartupCache has this namespace and key.
        """
        with self._lock:
            counts: dict[str, Counter[AdoptedState]] = {namespace: Counter() for namespace in self._counted}
            places = {place: list(pods.values()) for place, pods in self._pods.items()}
        for (namespace, key), pods in places.items():
            cached = has_cache(namespace, key)
            counts[namespace].update(self._state(one, tuned_for=cached or self._tunes(one.pod)) for one in pods)
        return counts

    def _state(self, one: AdoptedPod, *, tuned_for: bool) -> AdoptedState:
        report = init_report(one.pod) if one.injected else None
        return adopted_state(described=one.key != NO_KEY, injected=one.injected, tuned_for=tuned_for, report=report)

    def _tunes(self, pod: Pod) -> bool:
        try:
            return tunes(settings_of(pod["metadata"].get("annotations") or {}, self._defaults_of(pod), self._chart))
        except TunecastError:
            return True  # its Events report the setting

    def _defaults_of(self, pod: Pod) -> dict[str, str]:
        found = self._defaults.get(str(pod["metadata"]["namespace"]), DEFAULTS) or {}
        return dict(found.get("data") or {})

    def describe(self, pod: Pod) -> Adopted:
        """Describes a pod with its namespace's settings.

        Raises:
            TunecastError: it can't be described.
        """
        return adopted(pod, self._defaults_of(pod), self._chart)

    def _view(self, pod: Pod) -> AdoptedPod:
        if is_injected(pod):
            return AdoptedPod(pod, pod_key(pod), injected=True)
        try:
            return AdoptedPod(pod, self.describe(pod).key, injected=False)
        except TunecastError as error:
            noted = (pod["metadata"].get("annotations") or {}).get(NOT_INJECTED_ANNOTATION, "")
            reason, _, message = noted.partition(": ")
            return AdoptedPod(
                pod, NO_KEY, injected=False, problem=(reason, message) if message else (error.reason, str(error))
            )
        except Exception as error:
            log.exception("pod %s/%s: a bug in Tunecast", pod["metadata"]["namespace"], pod["metadata"]["name"])
            return AdoptedPod(pod, NO_KEY, injected=False, problem=("InternalError", str(error)))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        with self._changes:
            self._put(old, new)

    def _put(self, old: Pod | None, new: Pod | None) -> None:
        uid = str((new or old or {})["metadata"].get("uid"))
        namespace = str((new or old or {})["metadata"]["namespace"])
        view = self._view(new) if new is not None and self._is_adopted(namespace, new) else None
        with self._lock:
            touched = {place for place, pods in self._pods.items() if place[0] == namespace and uid in pods}
            for place in touched:
                del self._pods[place][uid]
                if not self._pods[place]:
                    del self._pods[place]
            if view is not None:
                self._pods[namespace, view.key][uid] = view
                self._counted.add(namespace)
                touched.add((namespace, view.key))
        for _, key in sorted(touched):
            self._enqueue(namespace, key)

    def _is_adopted(self, namespace: str, pod: Pod) -> bool:
        labels = pod["metadata"].get("labels") or {}
        return namespace not in self._excluded and not over(pod) and DEPLOYMENT_LABEL not in labels

    def _defaults_changed(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Describes the namespace's pods again: those that weren't injected may have another key by other settings."""
        namespace = str((new or old or {})["metadata"]["namespace"])
        for known in self._informer.list():
            if known["metadata"]["namespace"] != namespace:
                continue
            with self._changes:  # a pod that is deleted meanwhile must not come back
                pod = self._informer.get(namespace, str(known["metadata"]["name"]))
                if pod is not None:
                    self._put(pod, pod)


def _age(one: AdoptedPod) -> tuple[str, str]:
    metadata = one.pod["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])
