"""Settings of adopted pods: their precedence, and errors that name where a setting was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.adopted import adopted_pod
from tunecast_operator.adoption.adopted import adopted
from tunecast_operator.adoption.settings import SettingError, settings_of
from tunecast_operator.engine import SpecError


def test_the_pod_wins_over_its_namespace_and_that_over_the_chart() -> None:
    annotations = {"tunecast.io/ranks": "3", "app": "vllm", "tunecast.io/injected": "true"}
    found = settings_of(
        annotations, {"ranks": "2", "generation": "5"}, {"ranks": "1", "generation": "4", "hardware-limit": "2"}
    )
    assert {name: setting.value for name, setting in found.items()} == {
        "ranks": "3", "generation": "5", "hardware-limit": "2",
    }  # fmt: skip


def test_settings_become_fields_of_the_spec() -> None:
    pod = adopted_pod(
        annotations={
            "tunecast.io/container": "engine",
            "tunecast.io/ranks": "2",
            "tunecast.io/generation": "7",
            "tunecast.io/hardware-limit": "1",
            "tunecast.io/exclude-layers": "Triton, CUDA",
            "tunecast.io/credentials-secret": "s3-reader",
            "tunecast.io/tuning-policy": "Never",
        }
    )
    found = adopted(pod, {}, {})
    spec = found.spec
    assert (spec.tuning.ranks, spec.tuning.generation, spec.tuning.hardware_limit) == (2, 7, 1)
    assert spec.cache.layers.exclude == ["CUDA", "Triton"]
    assert spec.cache.credentials_secret is not None
    assert spec.cache.credentials_secret.name == "s3-reader"
    assert not found.tunes
    assert "metadata" in spec.template
    assert spec.template["metadata"]["annotations"] == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vllm serve", ("vllm", "serve")),
        ('["python3", "-m", "a b"]', ("python3", "-m", "a b")),
        ("a 'b c'", ("a", "b c")),
    ],
)
def test_an_entrypoint_is_a_list_or_words(text: str, words: tuple[str, ...]) -> None:
    pod = adopted_pod(command=None, args=["serve", "org/model"], annotations={"tunecast.io/entrypoint": text})
    try:
        assert adopted(pod, {}, {}).engine.entrypoint == words
    except SpecError as error:  # the words start no vLLM: they were read all the same
        assert words[0] in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ranks", "two", "whole number"),
        ("ranks", "0", "greater than or equal to 1"),
        ("ranks", "65", "less than or equal to 64"),
        ("ranks", "9" * 4000, "less than or equal to 64"),
        ("generation", "-1", "whole number"),
        ("exclude-layers", "Tritom", "no layer is named Tritom"),
        ("entrypoint", '["vllm"', "entrypoint"),
        ("entrypoint", "'vllm", "No closing quotation"),
        ("entrypoint", "[1]", "list of strings"),
        ("credentials-secret", "No_Secret", "String should match pattern"),
        ("tuning-policy", "TuneFirst", "write ServeWhileTuning or Never"),
        ("rank", "2", "unknown. Known names are"),
    ],
)
@pytest.mark.parametrize("where", ["annotation", "config map", "chart"])
def test_a_setting_that_cannot_be_read_names_where_it_was_written(
    where: str, name: str, value: str, words: str
) -> None:
    pod = adopted_pod(annotations={f"tunecast.io/{name}": value} if where == "annotation" else {})
    defaults, chart = ({name: value} if where == place else {} for place in ("config map", "chart"))
    with pytest.raises(SettingError, match=words) as caught:
        adopted(pod, defaults, chart)
    source = {
        "annotation": f"annotation tunecast.io/{name}",
        "config map": "ConfigMap tunecast-defaults",
        "chart": "chart",
    }
    assert source[where] in str(caught.value)


def test_a_container_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SpecError, match="which container"):
        adopted(adopted_pod(annotations={"tunecast.io/container": "other"}), {}, {})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda pod: pod["spec"]["containers"].append({"name": "x", "image": "x"}), "container"),
        (
            lambda pod: pod["spec"]["containers"][0].update(command=None, image="own/server:1", args=["--model=m"]),
            "entrypoint",
        ),
    ],
)
def test_an_error_about_the_pod_names_the_annotation_to_set(change: Callable[[dict[str, Any]], Any], name: str) -> None:
    pod = adopted_pod(resources={})
    change(pod)
    with pytest.raises(SpecError, match=f"set annotation tunecast.io/{name} to") as caught:
        adopted(pod, {}, {})
    assert "spec." not in str(caught.value)
