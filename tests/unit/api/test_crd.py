from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunecast_operator.api import crd

CRDS = crd.crds()
SCHEMAS = {name: found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for name, found in CRDS.items()}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from nodes(schema[inner], f"{path}[]")


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_chart_has_what_the_models_say(name: str) -> None:
    assert (crd.DIRECTORY / name).read_text() == crd.text(CRDS[name]), "run `make crds`"


def test_check_finds_a_stale_file_and_write_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--write"], tmp_path) == 0
    assert crd.main(["--check"], tmp_path) == 0
    (tmp_path / "startupcaches.json").write_text("{}\n")
    assert crd.main(["--check"], tmp_path) == 1
    assert "startupcaches.json" in capsys.readouterr().err
    assert crd.main(["--write"], tmp_path) == 0
    assert crd.main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_structural(name: str) -> None:
    """Kubernetes takes no references, no nulls, and a type for every node."""
    for path, node in nodes(SCHEMAS[name]):
        assert not node.keys() & {"$ref", "$defs", "title", "const"}, path
        if "x-kubernetes-int-or-string" not in node:
            assert node.get("type") in {"object", "array", "string", "integer", "number", "boolean"}, path
            assert "anyOf" not in node, path


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described(name: str) -> None:
    found = [pair for pair in nodes(SCHEMAS[name]) if pair[0].startswith((".spec", ".status"))]
    assert [path for path, node in found if not path.endswith("[]") and not node.get("description")] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_rule_says_what_to_do(name: str) -> None:
    found = [rule for _, node in nodes(SCHEMAS[name]) for rule in node.get("x-kubernetes-validations", ())]
    assert found
    assert [rule["rule"] for rule in found if len(rule["message"]) < 30] == []
