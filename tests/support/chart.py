"""What the chart renders."""

from __future__ import annotations

import json
from typing import Any

import yaml

from harness.deploy import ROOT
from harness.kubectl import Kubectl, Object

CHART = str(ROOT / "charts" / "tunecast")


def render(kubectl: Kubectl, **values: Any) -> dict[tuple[str, str], Object]:
    """What the chart makes of ``values``, by kind and name."""
    chosen = {"s3": {"bucket": "bundles"}, **values}
    arguments = ["template", "t", CHART, "--namespace", "tunecast-system", "--kube-version", "1.35.0", "--values", "-"]
    objects = yaml.safe_load_all(kubectl.command("helm", *arguments, stdin=json.dumps(chosen)))
    return {(found["kind"], found["metadata"]["name"]): found for found in objects if found}
