"""Command lines of engines, in the forms that pods have."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_core.engine.command_line import API_SERVER, CommandLine, default_entrypoint, read
from tunecast_core.engine.expansion import expand, variables
from tunecast_core.errors import CommandLineError

MODULE = ["python3", "-m", API_SERVER]
ENVIRONMENT = {"MODEL": "org/model", "PORT": "9000", "EXTRA": "--max-model-len 4096", "TOKEN": None, "HOME": "/root"}


def serve(*flags: str) -> CommandLine:
    return read(["vllm", "serve", "org/model", *flags], environment=ENVIRONMENT)


def script(text: str, *arguments: str, shell: tuple[str, ...] = ("sh", "-c")) -> CommandLine:
    return read([*shell, text], arguments, ENVIRONMENT)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["vllm", "serve", "org/model"], []),
        (["vllm", "serve"], ["org/model", "--dtype=auto"]),
        (["vllm", "serve", "--dtype", "auto", "org/model"], []),
        (["vllm", "serve", "--enforce-eager", "org/model"], []),
        (["vllm", "serve", "--no-enable-prefix-caching", "org/model"], []),
        (["vllm", "serve"], ["--model", "org/model"]),
        (["vllm", "serve"], ["--model=org/model"]),
        (["/opt/venv/bin/vllm", "serve"], ["$(MODEL)"]),
        ([*MODULE, "--model=org/model"], []),
        (["/usr/bin/python3.12", "-u", "-m", API_SERVER], ["--model", "$(MODEL)"]),
        (["python3", "-m", "vllm.entrypoints.cli.main", "serve", "org/model"], []),
        (["numactl", "-N", "0", "vllm", "serve", "org/model"], []),
        (["env", "VLLM_LOGGING_LEVEL=DEBUG", "vllm", "serve", "org/model"], []),
        (["tini", "--", "bash", "-c", "vllm serve org/model"], []),
        (["sh", "-c", "exec vllm serve $(MODEL)"], []),
        (["sh", "-c"], ["vllm serve $MODEL"]),
        (["bash", "-lc", 'vllm serve "${MODEL}"'], []),
        (["bash", "-euo", "pipefail", "-c", "python3 -m vllm.entrypoints.openai.api_server --model $MODEL"], []),
        (["bash", "-ec", "vllm serve ${MODEL:-org/other}"], []),
        (["bash", "-c", "vllm serve ${OTHER:-org/model}"], []),
        (["bash", "-c", "cd /models && exec vllm serve org/model 2>&1 | tee /tmp/log"], []),
        (["bash", "-c", "NAME=org/model; vllm serve $NAME"], []),
        (["bash", "-c", "export NAME=org/model && vllm serve $NAME # the model"], []),
        (["bash", "-c", "pip install -q x\nvllm serve \\\n  org/model \\\n  --dtype auto\n"], []),
        (["bash", "-c", "echo vllm serve org/other; vllm serve org/model & wait"], []),
        (["bash", "-c", "until test -f /ready; do sleep 1; done; vllm serve org/model"], []),
        (["bash", "-c", 'vllm serve "$@"', "bash", "org/model"], []),
        (["bash", "-c", "vllm serve $1", "bash", "org/model"], []),
        (["bash", "-c", "vllm serve 'org/'\"model\""], []),
        (["python3", "-W", "ignore", "-X", "dev", "-m", API_SERVER, "--model=org/model"], []),
        (["uv", "run", "--with", "vllm==0.26.0", "--", "vllm", "serve", "org/model"], []),
        (["bash", "-c", "export VLLM_HOST_IP=$(hostname -I | awk '{print $1}')\nexec vllm serve org/model"], []),
        (["bash", "-c", 'A="$(cat /a)" B=`id` vllm serve org/model'], []),
        (["bash", "-c", 'if [[ -z "$X" && ! -d /m ]]; then exit 1; fi; vllm serve org/model'], []),
        (["bash", "-c", "[[ -f /env ]] && echo x; vllm serve org/model"], []),
        (["bash", "-c", 'echo "$(date) serving $(id -un)"; vllm serve org/model'], []),
        (["bash", "-c", 'if [ "$(ls /models)" = "" ]; then hf download org/model; fi; vllm serve org/model'], []),
    ],
    ids=" ".join,
)
def test_every_form_names_the_model(command: list[str], args: list[str]) -> None:
    assert read(command, args, ENVIRONMENT).model == "org/model"


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--port=9000"], "port", 9000),
        (["--port", "9000"], "port", 9000),
        (["--port", "$(PORT)"], "port", 9000),
        (["--port=1", "--port=9000"], "port", 9000),  # the last one counts
        (["--por=9000"], "port", 9000),  # argparse takes prefixes
        ([], "port", 8000),
        (["--tensor_parallel_size", "4"], "tensor", 4),
        (["--tensor-parallel-s=4"], "tensor", 4),
        (["--tensor=4"], "tensor", 4),
        (["-tp", "4"], "tensor", 4),
        (["-tp=4"], "tensor", 4),
        (["-pp", "2"], "pipeline", 2),
        (["-dp", "2"], "data", 2),
        (["--ssl-certfile=/tls/crt", "--ssl-keyfile=/tls/key"], "scheme", "https"),
        ([], "scheme", "http"),
        (["--ssl-cert-reqs", "2"], "client_certificates", True),
        (["--host", "127.0.0.1"], "host", "127.0.0.1"),
        ([], "host", None),
        (["--uds=/run/vllm.sock"], "socket", "/run/vllm.sock"),
        (["--root-path=/qwen/"], "root_path", "/qwen"),
        (["--moe-backend", "FlashInfer-Cutlass"], "moe_backend", "flashinfer_cutlass"),
        ([], "moe_backend", "auto"),
        (["--revision=v2"], "revision", "v2"),
        (["--served-model-name", "a", "b"], "served_names", ("a", "b")),
        (["--served-model-name", "a", "--served-model-name", "b"], "served_names", ("b",)),
        ([], "served_names", ("org/model",)),
        (['--compilation-config={"cache_dir": "/c"}'], "compile_cache_directory", "/c"),
        (["-cc", '{"cache_dir": "/c"}'], "compile_cache_directory", "/c"),
        (["-cc.cache_dir=/c"], "compile_cache_directory", "/c"),
        (["--compilation_config.cache_dir", "/c"], "compile_cache_directory", "/c"),
        (["-O", '{"cache_dir": "/c"}'], "compile_cache_directory", "/c"),
        (["-O.cache_dir=/c"], "compile_cache_directory", "/c"),
        (["-O3"], "compile_cache_directory", None),
        (["-cc", "3"], "compile_cache_directory", None),
        (["--max-model-len", "-1", "--port=9000"], "port", 9000),  # a negative number is a value
    ],
    ids=str,
)
def test_flags_are_parsed(flags: list[str], name: str, value: object) -> None:
    assert getattr(serve(*flags), name) == value


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--enforce-eager"], {"--enforce-eager": ("true",)}),
        (["--no-enable-prefix-caching"], {"--enable-prefix-caching": ("false",)}),
        (["--enable-chunked-prefill=False"], {"--enable-chunked-prefill": ("false",)}),
        (["--enable-chunked-prefill", "true"], {"--enable-chunked-prefill": ("true",)}),
        (["-q", "fp8"], {"--quantization": ("fp8",)}),
        (["-O3"], {"--optimization-level": ("3",)}),
        (["-O", "2"], {"--optimization-level": ("2",)}),
        (["--device-memory-utilization=0.9"], {"--gpu-memory-utilization": ("0.9",)}),
        (["--middleware", "a", "--middleware=b"], {"--middleware": ("a", "b")}),
        (["--hf-token", "--enforce-eager"], {"--hf-token": ("",), "--enforce-eager": ("true",)}),
        (["--a-new-flag=1"], {"--a-new-flag": ("1",)}),
        (["--a-new-flag", "1"], {"--a-new-flag": ("1",)}),
        (["--a-new-flag", "--enforce-eager"], {"--a-new-flag": (), "--enforce-eager": ("true",)}),
        (["--api-key", "$(TOKEN)"], {"--api-key": ("$(TOKEN)",)}),  # not needed, so not an error
        (
            ["--speculative-config.method", "ngram", "--speculative-config.num_speculative_tokens=3"],
            {"--speculative-config": ('{"method": "ngram", "num_speculative_tokens": 3}',)},
        ),
        (
            ["--api-key", "a", "-cc.level=3", "b"],
            {"--api-key": ("a", "b"), "--compilation-config": ('{"level": 3}',)},
        ),
        (["-cc.custom_ops+", "all,none"], {"--compilation-config": ('{"custom_ops": ["all", "none"]}',)}),
    ],
    ids=str,
)
def test_how_flags_are_kept(flags: list[str], options: dict[str, Any]) -> None:
    assert dict(serve(*flags).options) == options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512", 512),
        ("8k", 8000),
        ("8K", 8192),
        ("1.5k", 1500),
        ("1M", 2**20),
        ("auto", None),
        ("-1", None),
        ("0", None),
    ],
)
def test_numbers(text: str, value: int | None) -> None:
    assert serve(f"--max-model-len={text}").number("--max-model-len") == value


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], "set spec.engine.entrypoint"),
        (["/start.sh", "--model=m"], "starts no engine that Tunecast knows: start the engine as `vllm serve MODEL`"),
        (["python3", "-m", "vllm.entrypoints.api_server", "--model=m"], "starts no engine that Tunecast knows"),
        (["vllm", "serve"], "names no model"),
        (["vllm", "serve", "--port=8000"], "names no model"),
        (["vllm", "serve", "--served-model-name=m-v2"], "names no model"),
        (["vllm", "serve", "m", "n"], "'n' belong to no flag"),
        (["vllm", "serve", "m", "--model=n"], "named twice"),
        ([*MODULE, "org/model"], "ignores 'org/model' and serves a model of its own: write --model=org/model"),
        (MODULE, "names no model"),
        (["vllm", "serve", "m", "--config=/c.yaml"], "write its settings as flags"),
        (["vllm", "serve", "m", "--config", "/c.yaml"], "write its settings as flags"),
        (["vllm", "serve", "m", "--port"], "--port has no value"),
        (["vllm", "serve", "m", "--port=http"], "--port is 'http': write a number"),
        (["vllm", "serve", "m", "--port=70000"], "a port from 1 to 65535"),
        (["vllm", "serve", "m", "--port=$(TOKEN)"], "TOKEN has no value in the container's env"),
        (["vllm", "serve", "$(NOBODY)"], "NOBODY has no value in the container's env"),
        (["vllm", "serve", "m", "$(EXTRA_ARGS)"], "EXTRA_ARGS has no value in the container's env"),
        (["vllm", "serve", "m", "--max-num=4"], "may be --max-num-active-seqs or .*write the flag out"),
        (["vllm", "serve", "--new", "a", "b"], "which of a b is its value"),
        (
            ["vllm", "serve", "--model org/model"],
            "'--model org/model' is one word: write the flag and its value as two",
        ),
        (["vllm", "serve", "m", "--port 9000"], "'--port 9000' is one word"),
        (["vllm", "serve", "m", " --port", "9000"], "remove that backslash"),
        (["vllm", "serve", "vllm", "serve", "m"], "ENTRYPOINT is vllm serve already"),
        (["vllm", "serve", "serve", "m"], "ENTRYPOINT is vllm serve already"),
        (["vllm", "serve", "m", "-cc", "{level: 3"], "--compilation-config is no JSON"),
    ],
    ids=str,
)
def test_a_command_line_that_cannot_be_parsed_is_refused_with_advice(command: list[str], words: str) -> None:
    with pytest.raises(CommandLineError, match=words):
        read(command, environment=ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vllm serve $(cat /model)", "only a shell can evaluate"),
        ("vllm serve `cat /model`", "only a shell can evaluate"),
        ("vllm serve m --port $((8000 + 1))", "only a shell can evaluate"),
        ("vllm serve ${MODEL##*/}", "only a shell can evaluate"),
        ("vllm serve $TOKEN", "TOKEN has no value"),
        ("vllm serve $(TOKEN)", "TOKEN has no value"),
        ("vllm serve m $TOKEN", "TOKEN has no value"),
        ("vllm serve ~other/m", "only a shell"),
        ("cat <<EOF | sh\nvllm serve m\nEOF", "only a shell can evaluate"),
        ("(vllm serve m)", "only a shell can evaluate"),
        ("eval vllm serve m", "the script uses eval"),
        ("serve() { vllm serve m; }; serve", "only a shell can evaluate"),
        ("if test -n $A; then vllm serve m; fi", "on a condition"),
        ("test -f /x || vllm serve m", "on a condition"),
        ("[ -f /x ] && vllm serve m", "on a condition"),
        ("! grep -q x /x && vllm serve m", "on a condition"),
        ("[[ -f /x || $A =~ (b|c) ]] && vllm serve m", "on a condition"),
        ("if [[ -n $A ]]; then vllm serve m; fi", "on a condition"),
        ("[[ -n $A && NAME=m; vllm serve $NAME", "starts no engine|NAME has no value|only a shell"),
        ("[ -f /x ] && NAME=m; vllm serve $NAME", "NAME has no value"),
        ("while true; do vllm serve m; done", "on a condition"),
        ("vllm serve a; vllm serve b", "starts 2 engines"),
        ("./start.sh", "starts no engine that Tunecast knows"),
        ("vllm serve 'm", "never closed"),
        ("PORT=$(cat /port); vllm serve m --port $PORT", "PORT has no value"),
        ("read PORT < /port; vllm serve m --port $PORT", "PORT has no value"),
        ("unset PORT; vllm serve m --port ${PORT:-8000}", "PORT has no value"),
        (". /settings; vllm serve m --port ${P:-8000}", "P has no value"),
        ("export $(cat /settings); vllm serve m --port ${P:-8000}", "P has no value"),
        ('set -- --port 9000; vllm serve m "$@"', "the script uses set --"),
        ("shift; vllm serve $1", "the script uses shift"),
        ('A="$(id)" vllm serve m --port "$(cat /port)"', r"only a shell can evaluate '\$\(cat /port\)'"),
        ("exec $(which vllm) serve m", "starts no engine that Tunecast knows"),
        ("vllm serve m \\ \n --port 9000", "remove that backslash"),
    ],
)
def test_a_script_that_cannot_be_parsed_is_refused_with_advice(text: str, words: str) -> None:
    with pytest.raises(CommandLineError, match=words):
        script(text)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("vllm serve m $EXTRA", {"--max-model-len": ("4096",)}),  # an unquoted value is split
        ("vllm serve m --port $PORT", {"--port": ("9000",)}),
        ("vllm serve m --port=$PORT --dtype=${D:-auto}", {"--port": ("9000",), "--dtype": ("auto",)}),
        ("vllm serve m --api-key $TOKEN", {"--api-key": ("$(TOKEN)",)}),
        ("vllm serve m --api-key $(TOKEN)", {"--api-key": ("$(TOKEN)",)}),  # the kubelet expands it
        ('KEY="$(TOKEN)"; vllm serve m --api-key "$KEY"', {"--api-key": ("$(TOKEN)",)}),
        ("vllm serve m --chat-template ~/t.jinja", {"--chat-template": ("/root/t.jinja",)}),
        ('vllm serve m -cc \'{"level": 3, "x": "$PORT"}\'', {"--compilation-config": ('{"level": 3, "x": "$PORT"}',)}),
        ('vllm serve m --chat-template "a \\"b\\" \\$c"', {"--chat-template": ('a "b" $c',)}),
        ("vllm serve m --dtype auto > /tmp/log 2>&1", {"--dtype": ("auto",)}),
        ("vllm serve m --dtype au\\\nto", {"--dtype": ("auto",)}),
        ("vllm serve m --chat-template ''", {"--chat-template": ("",)}),
    ],
)
def test_a_script_is_read_as_a_shell_reads_it(text: str, options: dict[str, Any]) -> None:
    assert dict(script(text).options) == options


def test_other_effects_of_a_script_are_found() -> None:
    line = script("export VLLM_CACHE_ROOT=/elsewhere; pip install x && LEVEL=1 exec vllm serve m")
    assert line.launcher == ("vllm", "serve")
    assert line.preparation == (("pip", "install", "x"),)
    assert line.assigned == {"VLLM_CACHE_ROOT": "/elsewhere", "LEVEL": "1"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "vllm serve m --port ${P:-9000}"], "takes '9000' where P isn't set"),
        (["sh", "-c", "P=${P:-9000}; vllm serve m --port $P"], "takes '9000' where P isn't set"),
        (["sh", "-c", "vllm serve m", "--port=9000"], "makes no use of '--port=9000', which stands behind it"),
        (["sh", "-c", "vllm serve m\n  --port 9000"], "'--port' begins a command of its own"),
        (["sh", "-c", "vllm serve m --port ${PORT:-1}"], None),
        (["sh", "-c", "vllm serve m ${P:-}"], None),
        (["sh", "-c", 'vllm serve m "$@"', "sh", "--port=9000"], None),
        (["sh", "-c", "source /opt/venv/bin/activate; vllm serve m --dtype ${D:-auto}"], "takes 'auto' where D"),
    ],
)
def test_what_a_script_was_read_with_is_noted(command: list[str], words: str | None) -> None:
    notes = read(command, environment=ENVIRONMENT).notes
    assert len(notes) == (words is not None)
    assert words is None or words in notes[0]


def test_a_default_counts_only_where_all_variables_are_known() -> None:
    command = ["sh", "-c", "vllm serve m --port ${P:-9000}"]
    assert read(command, environment={}).port == 9000
    with pytest.raises(CommandLineError, match="P has no value"):
        read(command, environment={}, complete=False)


def test_what_a_command_prints_is_kept_as_it_is_written() -> None:
    """Two scripts that differ in it are two keys."""
    line = script("export A=$(cat /a) && B=x$(id)y vllm serve m")
    assert line.assigned == {"A": "$(cat /a)", "B": "x$(id)y"}


@pytest.mark.parametrize(
    ("flags", "devices"),
    [([], 1), (["-tp=4"], 4), (["-tp=4", "-pp=2"], 8), (["-dp=4", "-tp=2", "-pcp=2"], 16)],
)
def test_how_many_gpus_a_replica_needs(flags: list[str], devices: int) -> None:
    assert serve(*flags).devices == devices


def test_env_sets_variables_too() -> None:
    assert read(["env", "-u", "A", "B=1", "vllm", "serve", "m"]).assigned == {"B": "1"}


def test_a_positional_that_the_module_ignores_is_noted() -> None:
    line = read([*MODULE, "--model=a", "b"])
    assert line.model == "a"
    assert line.notes == (f"'b' is no flag, and ignored by {API_SERVER}",)


@pytest.mark.parametrize(
    ("flags", "environment", "key"),
    [
        (["--api-key=a", "--port=1"], {"VLLM_API_KEY": "b"}, "a"),
        (["--api-key", "a", "c"], {}, "a"),
        ([], {"VLLM_API_KEY": "b"}, "b"),
        ([], {}, None),
    ],
)
def test_the_api_key(flags: list[str], environment: dict[str, str], key: str | None) -> None:
    assert serve(*flags).api_key(environment) == key


@pytest.mark.parametrize(
    ("image", "args", "entrypoint"),
    [
        ("vllm/vllm-openai:v0.26.0", ["org/m"], ("vllm", "serve")),
        ("vllm/vllm-openai:latest", ["org/m"], ("vllm", "serve")),
        ("vllm/vllm-openai", [], ("vllm", "serve")),
        ("registry:5000/mirror/vllm-openai-rocm:v0.26.0@sha256:00", ["org/m"], ("vllm", "serve")),
        ("vllm/vllm-openai:v0.9.2", ["--model=org/m"], ("vllm", "serve")),
        ("example/vllm-cpu-release-repo:v0.26.0", [], ("vllm", "serve")),
        ("registry.example/vllm:1.0", [], ()),
        ("vllm/vllm-openai-router:v1", [], ()),
    ],
)
def test_well_known_images(image: str, args: list[str], entrypoint: tuple[str, ...]) -> None:
    assert default_entrypoint(image, args) == entrypoint


def test_an_image_that_may_ignore_a_positional_model() -> None:
    with pytest.raises(CommandLineError, match="write --model=org/m"):
        default_entrypoint("vllm/vllm-openai:v0.9.2", ["org/m"])


def test_the_images_entrypoint_gets_the_arguments() -> None:
    assert read([], ["org/m", "-tp=2"], entrypoint=["vllm", "serve"]).tensor == 2


def test_variables_of_a_container() -> None:
    env: list[dict[str, Any]] = [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)/$(C)/$$(A)"},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "A", "value": "z"},
        {"name": "E"},
    ]
    assert variables(env) == {"A": "z", "B": "a/$(C)/$(A)", "S": None, "E": ""}
    assert expand("$(A) $(S)", variables(env)) == "z $(S)"
