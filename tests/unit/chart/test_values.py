"""The chart's values, their schema, their table and the operator's settings must agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunecast_core.bundle.layers import LAYERS
from tunecast_core.records.codec import from_json
from tunecast_operator.adoption.settings import POLICIES
from tunecast_operator.api.inference_deployment import Tuning
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.runtime.installation import InstallationError, from_environment

CHART = Path(__file__).resolve().parents[3] / "charts" / "tunecast"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
HELPERS = (CHART / "templates" / "_helpers.tpl").read_text()
FREE = {
    "resources",
    "podSecurityContext",
    "securityContext",
    "podAnnotations",
    "podLabels",
    "nodeSelector",
    "affinity",
    "annotations",
    "labels",
    "issuerRef",
}  # any keys are allowed below


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        if isinstance(value, dict) and name not in FREE:
            yield from leaves(value, here)
        else:
            yield here


def schema_leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, found in schema["properties"].items():
        here = f"{path}.{name}".lstrip(".")
        field = SCHEMA["definitions"][found["$ref"].rsplit("/", 1)[-1]] if "$ref" in found else found
        if "properties" in field:
            assert field["additionalProperties"] is False, here
            yield from schema_leaves(field, here)
        else:
            yield here


def test_the_schema_has_every_value_and_no_other() -> None:
    assert set(schema_leaves(SCHEMA)) - {"global"} == set(leaves(VALUES))


def test_the_readme_documents_every_value() -> None:
    rows = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([A-Za-z0-9.]+)`", row.split("|")[1])}
    assert documented == set(leaves(VALUES))


def test_every_value_is_used() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    groups = {"adoption", "image", "initImage", "initContainer", "tuning"}  # passed as a whole
    unused = [n for n in leaves(VALUES) if f".Values.{n}" not in templates and n.split(".")[0] not in groups]
    assert unused == []


class Recorder(dict[str, str]):
    """An environment that records the variables that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default or ("" if key.endswith("_FILE") else "1")


def test_the_operator_reads_what_the_chart_sets() -> None:
    environment = Recorder()
    from_environment(environment)
    set_by_chart = set(re.findall(r"TUNECAST_[A-Z_]+", HELPERS))
    assert environment.asked - {"TUNECAST_SIGNING_SECRET"} == set_by_chart


def test_the_defaults_of_init_containers_are_the_operators_own() -> None:
    assert from_json(ContainerSettings, VALUES["initContainer"], "initContainer") == ContainerSettings()


@pytest.mark.parametrize("text", ["[", "[]", '{"resources": []}'])
def test_init_container_settings_that_cannot_be_read_end_the_operator(text: str) -> None:
    required = {"TUNECAST_BUCKET": "b", "TUNECAST_NAMESPACE": "n", "TUNECAST_INIT_IMAGE": "i"}
    with pytest.raises(InstallationError, match="correct initContainer"):
        from_environment({**required, "TUNECAST_INIT_CONTAINER": text})


def test_defaults_of_adopted_pods_have_the_bounds_of_the_fields_that_they_stand_for() -> None:
    defaults = SCHEMA["properties"]["adoption"]["properties"]["defaults"]["properties"]
    tuning = Tuning.model_json_schema(by_alias=True)["properties"]
    for name in ("ranks", "hardwareLimit"):
        bounds = {bound: tuning[name][bound] for bound in ("type", "minimum", "maximum")}
        assert defaults[name] == bounds, name
    assert defaults["tuningPolicy"]["enum"] == [*POLICIES]
    assert defaults["excludeLayers"]["items"]["enum"] == [layer.name for layer in LAYERS]


def test_the_operator_may_read_the_one_secret_that_it_reads() -> None:
    required = {"TUNECAST_BUCKET": "b", "TUNECAST_NAMESPACE": "n", "TUNECAST_INIT_IMAGE": "i"}
    name = from_environment(required).signing_secret
    assert f"verbs: [get], resourceNames: [{name}]" in (CHART / "templates" / "rbac.yaml").read_text()
