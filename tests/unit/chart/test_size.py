"""The CRDs contain the whole pod schema: they must still fit into an object, and a release into its Secret."""

from __future__ import annotations

import base64
import gzip
import json

from harness.deploy import ROOT

CHART = ROOT / "charts" / "tunecast"
MEBI = 2**20


def test_a_crd_fits_an_object_of_etcd() -> None:
    for path in (CHART / "files" / "crds").glob("*.json"):
        assert len(json.dumps(json.loads(path.read_text()), separators=(",", ":"))) < MEBI / 2, path.name


def test_a_release_fits_a_secret() -> None:
    """Helm stores the chart's files and the rendered manifests as base64 of gzipped JSON."""
    files = {str(path): base64.b64encode(path.read_bytes()).decode() for path in CHART.rglob("*") if path.is_file()}
    rendered = [json.loads(path.read_text()) for path in (CHART / "files" / "crds").glob("*.json")]
    release = json.dumps({"files": files, "manifest": json.dumps(rendered)}).encode()
    assert len(base64.b64encode(gzip.compress(release))) < 0.75 * MEBI
