from __future__ import annotations

from typing import Any

import pytest

from tunecast_cache.listen import Listen
from tunecast_operator.api.command_line import command_line, listening
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec


def line(engine: dict[str, Any], model: dict[str, Any] | None = None, parallelism: dict[str, Any] | None = None) -> str:
    spec = {
        "model": {"name": "org/m", **(model or {})},
        "engine": {"image": "i", **engine},
        "parallelism": parallelism or {},
    }
    return " ".join(command_line(InferenceDeploymentSpec.model_validate(spec)))


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, "vllm serve org/m"),
        ({"args": ["--dtype=auto"]}, "vllm serve org/m --dtype=auto"),
        ({"command": ["python3", "serve.py", "--model", "$(MODEL)"]}, "python3 serve.py --model org/m"),
        ({"command": ["python3", "serve.py", "--model=$(MODEL)"], "args": ["-x"]}, "python3 serve.py --model=org/m -x"),
        (
            {"command": ["python3", "serve.py"], "args": ["-x", "--model", "$(MODEL)"]},
            "python3 serve.py -x --model org/m",
        ),
        ({"port": 9000}, "vllm serve org/m --port=9000"),
        ({"port": 9000, "args": ["--port=9000"]}, "vllm serve org/m --port=9000"),
        ({"port": 9000, "args": ["--port", "9000"]}, "vllm serve org/m --port 9000"),
        ({"port": 9000, "command": ["serve", "--port=9000"]}, "serve --port=9000 org/m"),
    ],
)
def test_the_model_and_the_port_have_their_places(engine: dict[str, Any], expected: str) -> None:
    assert line(engine) == expected


def test_what_other_fields_say_is_added_unless_it_is_the_default() -> None:
    spread = {"tensor": 4, "pipeline": 2, "data": 1}
    found = line({"args": ["--dtype=auto"]}, {"revision": "v2"}, spread)
    assert found == "vllm serve org/m --dtype=auto --revision=v2 --tensor-parallel-size=4 --pipeline-parallel-size=2"


def test_what_is_given_is_not_added_again() -> None:
    assert (
        line({"args": ["--tensor-parallel-size", "4"]}, None, {"tensor": 4})
        == "vllm serve org/m --tensor-parallel-size 4"
    )


POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, Listen()),
        ({"args": ["--host=::", "--ssl-keyfile=/k", "--ssl-certf", "/c"]}, Listen(host="::", tls=True)),
        ({"args": ["--host=$(POD_IP)"], "env": [POD_IP]}, Listen(host="$(POD_IP)")),
        ({"args": ["--host=$(HOST)"], "env": [{"name": "HOST", "value": "127.0.0.1"}]}, Listen(host="127.0.0.1")),
        ({"command": ["sh", "-c", "exec vllm serve $(MODEL) --hos localhost"]}, Listen(host="localhost")),
        ({"command": ["sh", "-c", "exec vllm serve $(MODEL) --ud /s"]}, Listen(socket="/s")),
        (
            {"command": ["python3", "my_server.py"], "args": ["--host", "127.0.0.1"]},
            Listen(),
        ),  # who knows what it means
    ],
)
def test_where_the_engine_listens(engine: dict[str, Any], expected: Listen) -> None:
    spec = InferenceDeploymentSpec.model_validate({"model": {"name": "org/m"}, "engine": {"image": "i", **engine}})
    assert listening(spec) == expected
