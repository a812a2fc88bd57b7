"""A few of the fault bench's seeded rounds; `bench/faults.py` plays hundreds."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from harness.kubectl import Kubectl
from support.faulty_s3 import faulty
from support.rounds import Play, Round, Trouble
from support.s3 import S3

pytestmark = pytest.mark.integration
SEEDS = range(1000, 1004)


def test_rounds_of_faults_converge_with_every_invariant_whole(kubernetes: Kubectl, s3_credentials: S3) -> None:
    def play(seed: int) -> Round:
        namespace = f"round-{seed}"
        kubernetes("create", "namespace", namespace)
        with faulty(s3_credentials.endpoint) as proxy:
            settings = replace(s3_credentials, endpoint=proxy.endpoint).settings()
            driver = Trouble(kubernetes.environment["KUBECONFIG"], settings, namespace, random.Random(seed))
            return Play(driver, proxy, seed).run()

    with ThreadPoolExecutor(4) as pool:
        rounds = [*pool.map(play, SEEDS)]
    assert {result.seed: result.broken for result in rounds if result.broken} == {}
    assert any("kill" in done for result in rounds for done in result.done), "some of them were killed"
