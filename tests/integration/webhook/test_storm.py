"""A storm of pods: none is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from harness.kubectl import Kubectl, wait_for
from support.pod_storm import peak_memory, pod, storm
from support.webhook_process import Release

pytestmark = pytest.mark.integration
NAMESPACE, PODS = "pod-storm", 200
LIMIT = 128  # MiB


def test_two_hundred_pods_in_one_second_are_all_injected(kubernetes: Kubectl, tmp_path: Path) -> None:
    kubernetes("create", "namespace", NAMESPACE)
    kubernetes("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
    release = Release(kubernetes, f"{NAMESPACE}-release")
    release.install(release.new_certificate())

    def injects() -> bool:
        made = kubernetes.create(pod(0, NAMESPACE), "--dry-run=server")
        return "tunecast.io/key" in made["metadata"]["labels"]

    with release.process(tmp_path) as process:
        wait_for(injects, "the API server trusts the webhook", 30)
        created = asyncio.run(storm(kubernetes, NAMESPACE, PODS))
        memory = peak_memory(process.pid)
    release.uninstall()
    kubernetes("delete", "namespace", NAMESPACE, "--wait=false")
    assert Counter(created.outcomes) == {"injected": PODS}
    assert memory < LIMIT, "the chart's limit"
