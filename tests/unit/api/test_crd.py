from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunecast_operator.api import crd
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.kubernetes_types import MARK
from tunecast_operator.api.model import Model
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.api.status import InferenceDeploymentStatus, StartupCacheStatus

CRDS = crd.crds()
MODELS = (InferenceDeploymentSpec, InferenceDeploymentStatus, StartupCacheSpec, StartupCacheStatus)
WHOLE = re.compile(r"[A-Z]\S*(?:\s\S+){3,}\.", re.DOTALL)  # four words at least, and a full stop
# Finds clauses without a main clause, sentences without a subject, and values instead of sentences.
FRAGMENT = re.compile(r"^(?:Which|What|Whether|Why|How|When|Its|Their|Those|From|In)\b|(?:^|\. )(?:Of|That|\w+:) ")
ADVICE = re.compile(r".{20,}: .{8,}|.+ must be .{8,}", re.DOTALL)  # what is wrong, and what to write instead
SCHEMAS = {name: found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for name, found in CRDS.items()}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every schema in a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from nodes(schema[inner], f"{path}[]")


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_charts_crds_match_the_models(name: str) -> None:
    assert (crd.DIRECTORY / name).read_text() == crd.text(CRDS[name]), "run `make crds`"


def test_check_finds_a_stale_file_and_write_updates_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--write"], tmp_path) == 0
    assert crd.main(["--check"], tmp_path) == 0
    (tmp_path / "startupcaches.json").write_text("{}\n")
    assert crd.main(["--check"], tmp_path) == 1
    assert "startupcaches.json" in capsys.readouterr().err
    assert crd.main(["--write"], tmp_path) == 0
    assert crd.main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_structural(name: str) -> None:
    """Kubernetes allows neither references nor nulls, and requires a type for every node."""
    for path, node in nodes(SCHEMAS[name]):
        assert not node.keys() & {"$ref", "$defs", "title", "const"}, path
        if "x-kubernetes-int-or-string" not in node:
            assert node.get("type") in {"object", "array", "string", "integer", "number", "boolean"}, path
            assert "anyOf" not in node, path


def own(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yields every field of ours with its description; Kubernetes describes its own types."""
    yield path, schema.get("description", "")
    if MARK in schema:
        return
    for name, field in schema.get("properties", {}).items():
        yield from own(field, f"{path}.{name}")
    items = schema.get("items", {})
    for name, field in items.get("properties", {}).items() if MARK not in items else ():
        yield from own(field, f"{path}[].{name}")


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described_in_whole_sentences(model: type[Model]) -> None:
    """``kubectl explain`` shows each description alone, so it must be clear without its neighbours."""
    described = list(own(crd.structural(model), model.__name__))
    assert len(described) > 10
    assert [path for path, text in described if not WHOLE.fullmatch(text) or FRAGMENT.search(text)] == []


def test_a_fragment_is_found() -> None:
    """This shows that the test above can fail: the API once had these descriptions."""
    fragments = ("", "What is", "In one word.", "Of the bundle.", "Peer: made on another pod. SamePod: with one.")
    assert [text for text in fragments if WHOLE.fullmatch(text) and not FRAGMENT.search(text)] == []


def test_our_description_of_a_kubernetes_type_wins() -> None:
    fields = SCHEMAS["inferencedeployments.json"]["properties"]["spec"]["properties"]
    assert fields["template"]["description"].startswith("Pod template of replicas")
    assert fields["strategy"]["description"].startswith("Strategy by which")


@pytest.mark.parametrize("name", CRDS)
def test_every_column_is_described(name: str) -> None:
    columns = CRDS[name]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not WHOLE.fullmatch(c["description"])] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_rule_has_a_message_with_advice(name: str) -> None:
    found = [rule for _, node in nodes(SCHEMAS[name]) for rule in node.get("x-kubernetes-validations", ())]
    assert found
    assert [rule["message"] for rule in found if not ADVICE.fullmatch(rule["message"])] == []
