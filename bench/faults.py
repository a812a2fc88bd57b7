"""Runs seeded rounds of faults on a real control plane and a real S3 server; ``support.rounds`` checks the invariants.

    PYTHONPATH=core:initcontainer:operator:tests:tests/cluster python bench/faults.py [--rounds 200] [--seed 1]

It starts its own control plane and stops it at the end. The exit code is 1 if an invariant broke. ``--only SEED``
repeats one round.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.kubectl import Kubectl
from seeded import seeds, summary
from support.faulty_s3 import faulty
from support.kubernetes import control_plane
from support.rounds import Play, Round, Trouble
from support.s3 import S3, serving

AT_ONCE = 4  # a round waits for controllers most of its time, in its own namespace


def main() -> int:
    chosen, started = seeds(__doc__, 200), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as s3, control_plane() as kubectl:
        os.environ.update(s3.environment)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = [printed(result) for result in pool.map(lambda seed: play(kubectl, s3, seed), chosen)]
    if len(chosen) == 1:
        print("\n".join(results[0].done))
    return summary(results, time.monotonic() - started)


def play(kubectl: Kubectl, s3: S3, seed: int) -> Round:
    namespace = f"round-{seed}"
    kubectl("create", "namespace", namespace)
    with faulty(s3.endpoint) as proxy:
        settings = S3(proxy.endpoint, s3.bucket, s3.access_key, s3.secret_key).settings()
        driver = Trouble(kubectl.environment["KUBECONFIG"], settings, namespace, random.Random(seed))
        result = Play(driver, proxy, seed).run()
    kubectl("delete", "namespace", namespace, "--wait=false")
    return result


def printed(result: Round) -> Round:
    for broken in result.broken:
        print(f"seed {result.seed}: {broken}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
