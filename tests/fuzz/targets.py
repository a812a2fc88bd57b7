"""The targets of fuzzing: every reader of bytes from outside. A reader may raise only our own errors.

A target raises AssertionError if an invariant is broken; any other exception is a finding, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fuzz import admission
from fuzz.archives import archive, layout
from support.objects import serving_pod
from tunecast_core.bundle import flashinfer
from tunecast_core.engine.command_line import read
from tunecast_core.errors import TunecastError
from tunecast_core.hardware import UNKNOWN
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.job import JobSettings, Progress, RankResult
from tunecast_core.records.manifest import Manifest, RankProof
from tunecast_core.records.report import InitReport
from tunecast_core.records.seal import seal, unseal
from tunecast_core.trust.manifests import Place, verify_manifest
from tunecast_core.trust.secret_names import names_public, names_secret
from tunecast_core.trust.secret_values import SHORTEST, distinct, parts
from tunecast_core.trust.settings import StoreSettings, Trust
from tunecast_core.trust.signing import Signer, verify
from tunecast_operator.api.status import MadeWith
from tunecast_operator.identity import REVISION_ANNOTATION
from tunecast_operator.plan.crashes import Crash, crashes
from tunecast_operator.plan.drift import drift
from tunecast_operator.plan.outcome import results_of
from tunecast_operator.plan.quarantine import judge
from tunecast_operator.reconcile.startup_cache import parse_sweep
from tunecast_operator.resources.quarantine import Failure, quarantine_in
from tunecast_operator.resources.revision import revision_of
from tunecast_operator.resources.trust import trust_config_map
from tunecast_operator.runtime.publisher import check_archives, check_environment
from tunecast_tuner.engine.interpreter import Interpreter
from tunecast_tuner.flashinfer_ops.records import Report
from tunecast_tuner.peers.heartbeat import Ending
from tunecast_tuner.proof import diagnosis, phases
from tunecast_tuner.proof.redact import INSTEAD, Redactor
from tunecast_tuner.workloads.engine import Offer
from tunecast_tuner.workloads.exchange import Installed

SIGNER = Signer(bytes(range(32)))
TRUST = Trust(StoreSettings("bundles"), {SIGNER.signer: SIGNER.public_key})
KEY, NAMESPACE = "k" * 52, "models"
TIME = "2026-01-01T10:00:01Z"


def record(kind: type[Any]) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        try:
            found = decode(kind, data, "fuzzed")
        except TunecastError:
            return
        assert decode(kind, canonical(found), "again") == found, "reading and writing a value keeps it unchanged"

    return target


def envelope(data: bytes) -> None:
    """Every accepted envelope was signed as it is."""
    try:
        payload, signer = verify(data, TRUST.keys)
    except TunecastError:
        return
    [ours] = json.loads(SIGNER.sign(payload))["signatures"]
    theirs = [s["sig"] for s in json.loads(data)["signatures"] if s["keyid"] == signer]
    assert signer == SIGNER.signer
    assert base64.b64decode(theirs[-1]) == base64.b64decode(ours["sig"])  # base64 has several encodings of some bytes


def signed_manifest(data: bytes) -> None:
    """Reads a manifest of any content that our own key signed, because ranks influence the content."""
    try:
        found = verify_manifest(SIGNER.sign(data), TRUST.keys, Place(NAMESPACE, KEY, UNKNOWN), SIGNER.signer)
    except TunecastError:
        return
    assert (found.manifest.namespace, found.manifest.key, found.manifest.hardware) == (NAMESPACE, KEY, UNKNOWN)


def staged(data: bytes) -> None:
    """Checks a staged result of rank 0 as the operator does before it publishes."""
    try:
        result = decode(RankResult, data, "fuzzed")
        check_archives(result.archives, "job")
        environment = check_environment(result.environment, "job")
    except TunecastError:
        return
    assert environment.keys() <= {"PYTHONPYCACHEPREFIX", "PYTHONPATH"}


def tactics(data: bytes) -> None:
    try:
        flashinfer.digest(flashinfer.read(data, "fuzzed").tactics)
    except TunecastError:
        return


def sealed(data: bytes) -> None:
    """Every accepted result was sealed by a rank."""
    try:
        payload = unseal("token", "results/0.json", data)
    except TunecastError:
        return
    assert seal("token", "results/0.json", payload) == data


def config_map(data: bytes) -> None:
    """Reads the trust ConfigMap, which tenants may be able to write: reading and writing keeps it unchanged."""
    texts = _object(data)
    known = quarantine_in({"data": texts})
    trust = Trust(TRUST.store, TRUST.keys, known.digests)
    assert quarantine_in(trust_config_map(NAMESPACE, trust, known.cases)) == known
    crashed = [Crash("pod", "uid", digest, 2, Failure(139)) for digest in ("b" * 64, *known.digests, *known.cases)]
    after = judge(known, [*crashed, *(replace(crash, cold=True) for crash in crashed)])
    assert all(after.lifted(digest) or digest in after.digests for digest in after.cases)


def revision(data: bytes) -> None:
    """Reads the annotation of a Deployment: reading and writing keeps it unchanged."""
    annotations = {REVISION_ANNOTATION: data.decode(errors="replace")}
    found = revision_of({"metadata": {"annotations": annotations}})
    if found:
        assert revision_of({"metadata": {"annotations": {REVISION_ANNOTATION: found.to_text()}}}) == found


def pods(data: bytes) -> None:
    """Reads termination messages of containers, with any times and exit codes."""
    given = _object(data)
    engine = {"terminated": {"exitCode": 1, "startedAt": TIME, "finishedAt": TIME, **_texts(given.get("engine"))}}
    pod = serving_pod("a", "m" * 64, {"state": engine, "restartCount": 1}, cold=str(given.get("cold") or "NoManifest"))
    [init] = pod["status"]["initContainerStatuses"]
    init["state"]["terminated"] |= _texts(given.get("init"))
    for crash in crashes([pod]):
        assert crash.times >= 1
    drift({"": MadeWith()}, [pod], {})
    results_of([pod], {})


def command_line(data: bytes) -> None:
    """Parses the command of a container; every result is a value or our own error."""
    words = [str(word) for word in _list(data)]
    try:
        line = read(words, environment={"MODEL": "org/model", "UNKNOWN": None})
    except TunecastError:
        return
    for question in ("model", "port", "scheme", "tensor", "data", "served_names"):
        with suppress(TunecastError):
            getattr(line, question)


def secret(data: bytes) -> None:
    """Reads any bytes as a secret. Each search string is part of the secret, and too long to match by chance."""
    known = parts(data)
    assert distinct(data) <= known | parts(data.strip())
    assert all(len(part) >= SHORTEST for part in known)
    text = data.decode(errors="replace")
    assert not (names_secret(text) and names_public(text))
    shown = Redactor([data]).line(b"<" + data + b">")
    assert len(data) < SHORTEST or data not in shown or data in INSTEAD


def sweep(data: bytes) -> None:
    """Reads the lines of a user's ConfigMap."""
    try:
        requests = parse_sweep(data.decode(errors="replace"), "fuzzed")
    except TunecastError:
        return
    canonical(requests)


def log(data: bytes) -> None:
    """Diagnoses the last lines of an engine's log."""
    lines = data.decode(errors="replace").splitlines()
    diagnosis.diagnose(1, lines)
    phases.read(list(enumerate(map(str, lines))), float(len(lines)))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _object(data: bytes) -> dict[str, Any]:
    value = _json(data)
    return value if isinstance(value, dict) else {}


def _list(data: bytes) -> list[Any]:
    value = _json(data)
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, Any]:
    """Returns values that the API server accepts in a container's state: text, and numbers in number fields."""
    given = value if isinstance(value, dict) else {}
    found = {name: given[name] for name in ("message", "reason") if isinstance(given.get(name), str)}
    if isinstance(given.get("exitCode"), int) and abs(given["exitCode"]) < 2**31:
        found["exitCode"] = given["exitCode"]
    return found | {name: None for name in ("startedAt", "finishedAt") if name in given and given[name] is None}


TARGETS: dict[str, Callable[[bytes], None]] = {
    "admission": admission.admission,
    "admission-review": admission.review,
    "admission-settings": admission.settings,
    "manifest": record(Manifest),
    "report": record(InitReport),
    "result": record(RankResult),
    "settings": record(JobSettings),
    "progress": record(Progress),
    "trust": record(Trust),
    "offer": record(Offer),
    "rank-proof": record(RankProof),
    "installed": record(Installed),
    "ending": record(Ending),
    "interpreter": record(Interpreter),
    "operators": record(Report),
    "store-settings": record(StoreSettings),
    "sealed": sealed,
    "config-map": config_map,
    "revision": revision,
    "pods": pods,
    "command-line": command_line,
    "secret": secret,
    "sweep": sweep,
    "log": log,
    "envelope": envelope,
    "signed-manifest": signed_manifest,
    "staged": staged,
    "tactics": tactics,
    "archive": archive,
    "layout": layout,
}


BINARY = {"archive", "layout", "sealed", "secret", "sweep", "log"}  # all other targets read JSON
