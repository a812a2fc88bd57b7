"""A pod that one tenant writes bounds neither the time nor the memory of the webhook and the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from support.adopted import NAMESPACE, adopted_pod
from tunecast_core.engine.command_line import read
from tunecast_core.engine.expansion import variables
from tunecast_core.errors import CommandLineError, TunecastError
from tunecast_operator.adoption.adopted import NotAdoptableError, adopted
from tunecast_operator.adoption.settings import SettingError
from tunecast_operator.runtime.adopted_pods import NO_KEY, AdoptedPods
from tunecast_operator.runtime.cluster import CONFIG_MAP, POD, Cluster, Kind, Object
from tunecast_operator.runtime.informer import Informer

DOUBLED = [{"name": "E0", "value": "a" * 8}] + [
    {"name": f"E{level}", "value": f"$(E{level - 1})$(E{level - 1})"} for level in range(1, 24)
]


class Listed(Cluster):
    """An API server that lists two objects."""

    def __init__(self, kind: Kind, items: list[Object]) -> None:
        self.kind, self.items = kind, items

    def list_with_version(
        self,
        kind: Kind,
        namespace: str = "",  # noqa: ARG002
        labels: str = "",  # noqa: ARG002
        fields: str = "",  # noqa: ARG002
    ) -> tuple[list[Object], str]:
        return (self.items if kind == self.kind else []), "1"


def test_variables_that_double_their_size_are_an_error() -> None:
    with pytest.raises(CommandLineError, match="expand to more than 1048576 characters"):
        variables(DOUBLED)


def test_arguments_that_repeat_a_variable_are_an_error() -> None:
    with pytest.raises(CommandLineError, match="expand to more than"):
        read(["vllm", "serve", "m", *["$(A)"] * 64], environment={"A": "a" * 2**15})


def test_shell_variables_that_double_their_size_are_an_error() -> None:
    script = "a=aaaaaaaa\n" + 'a="$a$a"\n' * 24 + "vllm serve m"
    with pytest.raises(CommandLineError, match="expand to more than"):
        read(["sh", "-c", script])


def test_a_script_of_very_many_words_is_an_error() -> None:
    with pytest.raises(CommandLineError, match="more than 1024 words"):
        read(["sh", "-c", "true\n" * 1100 + "vllm serve m"])


def test_variables_that_are_small_alone_and_large_together_are_an_error() -> None:
    copies = [{"name": f"COPY_{number}", "value": "$(LONG)"} for number in range(5)]
    with pytest.raises(CommandLineError, match="expand to more than"):
        variables([{"name": "LONG", "value": "x" * 300_000}, *copies])


def test_a_pod_whose_variables_double_their_size_is_not_adoptable() -> None:
    pod = adopted_pod("--model=m")
    pod["spec"]["containers"][0]["env"] = DOUBLED
    with pytest.raises(TunecastError, match="expand to more than"):
        adopted(pod, {}, {})


@pytest.mark.parametrize(
    ("field", "items", "limit"),
    [
        ("args", ["x"] * 257, "256"),
        ("command", ["x"] * 65, "64"),
        ("env", [{"name": "A", "value": ""}] * 257, "256"),
        ("volumeMounts", [{"name": "v", "mountPath": "/v"}] * 65, "64"),
        ("args", ["x" * 2**17], "65536"),
    ],
)
def test_a_container_over_a_limit_is_refused_with_the_limit(field: str, items: list[Any], limit: str) -> None:
    pod = adopted_pod("--model=m")
    pod["spec"]["containers"][0][field] = items
    with pytest.raises(NotAdoptableError, match=f"write at most {limit}"):
        adopted(pod, {}, {})


@pytest.mark.parametrize(("field", "limit"), [("containers", 16), ("initContainers", 16), ("volumes", 128)])
def test_a_pod_over_a_limit_is_refused_with_the_limit(field: str, limit: int) -> None:
    pod = adopted_pod("--model=m")
    pod["spec"][field] = [{"name": f"n{number}"} for number in range(limit + 1)]
    with pytest.raises(NotAdoptableError, match=f"write at most {limit}"):
        adopted(pod, {}, {})


@pytest.mark.parametrize("length", [2000, 200_000])
def test_an_entrypoint_of_brackets_is_an_error(length: int) -> None:
    with pytest.raises(SettingError, match="entrypoint"):
        adopted(adopted_pod("--model=m", annotations={"tunecast.io/entrypoint": "[" * length}), {}, {})


def test_a_long_setting_is_refused_with_the_limit() -> None:
    with pytest.raises(SettingError, match="write at most 4096 characters"):
        adopted(adopted_pod("--model=m", annotations={"tunecast.io/entrypoint": "a " * 125_000}), {}, {})


def test_a_pod_on_which_the_operator_fails_is_kept_with_the_problem() -> None:
    pod = adopted_pod("--model=m")
    pod["spec"]["containers"][0]["args"] = [7]
    pods = AdoptedPods(Listed(POD, [pod]), [], {}, lambda _namespace, _key: None)
    pods.refresh()
    (found,) = pods.of_key(NAMESPACE, NO_KEY)
    assert found.problem[0] == "InternalError"


def test_an_object_on_which_a_handler_fails_does_not_lose_the_others(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def changed(_old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        name = (new or {})["metadata"]["name"]
        if name == "bad":
            raise ValueError("no")
        seen.append(name)

    items: list[Object] = [{"metadata": {"name": name, "namespace": NAMESPACE}} for name in ("bad", "good")]
    Informer(Listed(CONFIG_MAP, items), CONFIG_MAP, changed=changed).relist("")
    assert seen == ["good"]
    assert f"{NAMESPACE}/bad" in caplog.text
