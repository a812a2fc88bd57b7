"""Brings up the cluster of tests/cluster, builds and loads our images, and installs the chart."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.kubectl import Kubectl, Object

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_IMAGE, INIT_IMAGE = "localhost/tunecast-operator", "localhost/tunecast-init"
BASE = "BASE=localhost/python:3"
SYSTEM_NAMESPACE = "tunecast-system"
S3_SECRET = "tunecast-s3"


def cluster(*arguments: str) -> str:
    """Runs tests/cluster; its progress goes to this process's standard error."""
    command = [sys.executable, str(ROOT / "tests" / "cluster"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def cluster_environment(*name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(cluster("env", "--json", *name))
    return found


def build() -> None:
    """Builds the cluster, its engine and our images in parallel, if they are missing or their inputs have changed."""
    with ThreadPoolExecutor() as pool:
        rest, images = pool.submit(cluster, "build", "--engine"), pool.submit(build_images)
        images.result()
        rest.result()


def build_images(tag: str = "dev") -> None:
    """Builds both of our images."""
    for target, image in (("operator", OPERATOR_IMAGE), ("init", INIT_IMAGE)):
        cluster("image", "build", "--target", target, "--tag", f"{image}:{tag}", "--build-arg", BASE, str(ROOT))


def load_images(*name: str, tag: str = "dev") -> None:
    """Loads both of our images into the cluster."""
    for image in (OPERATOR_IMAGE, INIT_IMAGE):
        cluster("image", "load", f"{image}:{tag}", *name)


def values(environment: dict[str, str], tag: str = "dev", **more: Any) -> Object:
    """Returns Helm values for the test cluster."""
    return {
        "image": {"repository": OPERATOR_IMAGE, "tag": tag, "pullPolicy": "IfNotPresent"},
        "initImage": {"repository": INIT_IMAGE, "tag": tag, "pullPolicy": "IfNotPresent"},
        "s3": {
            "bucket": environment["TUNECAST_BUCKET"],
            "endpoint": environment["TUNECAST_S3_ENDPOINT_IN_CLUSTER"],
            "region": environment["AWS_REGION"],
            "credentialsSecret": S3_SECRET,
        },
        **more,
    }


def install(kubectl: Kubectl, chart_values: Object, release: str = "tunecast") -> None:
    """Runs ``helm upgrade --install``, and waits until the operator is ready."""
    command = [
        "upgrade", "--install", release, str(ROOT / "charts" / "tunecast"), "--namespace", SYSTEM_NAMESPACE,
        "--values", "/dev/stdin", "--wait", "--timeout", "2m",
    ]  # fmt: skip
    kubectl.command("helm", *command, stdin=json.dumps(chart_values))


def namespace(name: str, labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def s3_secret(namespace_name: str, environment: dict[str, str]) -> Object:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": S3_SECRET, "namespace": namespace_name},
        "stringData": {name: environment[name] for name in keys},
    }
