"""Reads the command line of a vLLM server: its model, its address, and its parallel sizes. Pure.

The operator reads the container of a pod template, where the values of some variables are unknown. A rank reads the
command line that it runs, where all values are known. Nothing is rewritten. A command line that can't be read is an
error that states what to write instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tunecast_core.engine.expansion import expand_all
from tunecast_core.engine.flag_parser import NEGATIVE_NUMBER, known_value, parse_flags
from tunecast_core.engine.shell import SimpleCommand, simple_commands, unreadable
from tunecast_core.errors import CommandLineError

SERVE = ("vllm", "serve")
API_SERVER = "vllm.entrypoints.openai.api_server"
_CLI = "vllm.entrypoints.cli.main"
DEFAULT_PORT = 8000
# Images with a known ENTRYPOINT. vLLM's older images start the api_server module, which accepts a model only as
# --model; `vllm serve --model` starts the same engine.
WELL_KNOWN_IMAGE = r"(.*/)?(vllm-openai(-rocm|-cpu)?|vllm-cpu-release-repo)"
_VLLM_IMAGE = re.compile(rf"{WELL_KNOWN_IMAGE}(?::v?(?P<major>\d+)\.(?P<minor>\d+).*|[:@].*)?")
_SERVES_POSITIONAL = (0, 20)  # older images may start the module
_PROGRAM = re.compile(r"vllm|python[\d.]*")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh"}
_ECHOES = {"echo", "printf", ":", "true"}
_POSITIONAL = re.compile(r"\$\{?[@*0-9]")
_PYTHON_VALUES = {"-W", "-X"}  # Python's own options that take a value
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)")
_ADVICE = f"start the engine as `vllm serve MODEL` or `python3 -m {API_SERVER} --model=MODEL`, also within `sh -c`"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line of an engine. A variable whose value is unknown stays ``$(NAME)``."""

    launcher: tuple[str, ...]  # words that start the engine, without flags: ("vllm", "serve")
    arguments: tuple[str, ...]  # all words behind the launcher, as the engine receives them
    positional: str | None  # the model behind `serve`
    options: Mapping[str, tuple[str, ...]]  # values by the flag's full name; "true" or "false" for a switch
    assigned: Mapping[str, str] = field(default_factory=dict)  # variables that the command line sets
    preparation: tuple[tuple[str, ...], ...] = ()  # the other commands of a script
    notes: tuple[str, ...] = ()  # likely mistakes of the user

    def text(self, flag: str) -> str | None:
        """Returns the flag's last value, or None if the flag isn't set.

        Raises:
            CommandLineError: the value of a variable in it is unknown.
        """
        values = self.options.get(flag)
        return known_value(flag, values[-1]) if values else None

    def number(self, flag: str) -> int | None:
        """Returns the flag's last value as a positive number: 8k is 8000, 8K is 8192.

        Returns None if the flag isn't set or leaves the decision to the engine (auto, -1).

        Raises:
            CommandLineError: the value isn't a number.
        """
        text = self.text(flag)
        if text is None or text.lower() in {"auto", "none"} or NEGATIVE_NUMBER.fullmatch(text):
            return None
        found = _NUMBER.fullmatch(text)
        if not found:
            raise CommandLineError(f"{flag} is {text!r}: write a number")
        return int(float(found[1]) * _UNITS[found[2]]) or None

    def switch(self, flag: str) -> bool:
        return self.text(flag) == "true"

    def fields(self, flag: str) -> Mapping[str, Any]:
        """Returns the flag's last value as a JSON object, or an empty one if it is something else, such as a number.

        Raises:
            CommandLineError: the value begins like an object but isn't valid JSON.
        """
        text = self.text(flag) or ""
        try:
            value = json.loads(text)
        except ValueError as error:
            if text.lstrip().startswith("{"):
                raise CommandLineError(f"{flag} is no JSON: {error}: check its quotes") from error
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def program(self) -> str:
        """The executable of the engine: a Python interpreter, or vLLM's own script."""
        return next(word for word in self.launcher if _PROGRAM.fullmatch(word.rpartition("/")[2]))

    @property
    def model(self) -> str:
        return self.positional or self.text("--model") or ""

    @property
    def revision(self) -> str | None:
        return self.text("--revision")

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names by which clients address the model; by default the model's own name."""
        return self.options.get("--served-model-name", ()) or (self.model,)

    @property
    def port(self) -> int:
        return self.number("--port") or DEFAULT_PORT

    @property
    def scheme(self) -> Literal["http", "https"]:
        return "https" if self.options.keys() & {"--ssl-certfile", "--ssl-keyfile"} else "http"

    @property
    def client_certificates(self) -> bool:
        """Whether the engine refuses clients without a certificate (ssl.CERT_REQUIRED)."""
        return self.text("--ssl-cert-reqs") == "2"

    @property
    def host(self) -> str | None:
        """The address that the engine listens on, or None for all addresses."""
        return next(iter(self.options.get("--host", ())), None)

    @property
    def socket(self) -> str | None:
        """The path of the Unix domain socket that the engine listens on instead of a port."""
        return self.text("--uds")

    @property
    def root_path(self) -> str:
        """Path at which a proxy serves the engine. Requests reach the engine with and without this path."""
        return (self.text("--root-path") or "").rstrip("/")

    @property
    def tensor(self) -> int:
        return self.number("--tensor-parallel-size") or 1

    @property
    def pipeline(self) -> int:
        return self.number("--pipeline-parallel-size") or 1

    @property
    def data(self) -> int:
        return self.number("--data-parallel-size") or 1

    @property
    def devices(self) -> int:
        """Number of GPUs of one replica."""
        return self.tensor * self.pipeline * self.data * (self.number("--prefill-context-parallel-size") or 1)

    @property
    def moe_backend(self) -> str:
        return (self.text("--moe-backend") or "auto").lower().replace("-", "_")

    @property
    def compile_cache_directory(self) -> str | None:
        """Directory of torch.compile's cache that ``--compilation-config`` sets, or None."""
        directory = self.fields("--compilation-config").get("cache_dir")
        return directory if isinstance(directory, str) and directory else None

    def api_key(self, environment: Mapping[str, str]) -> str | None:
        """Returns the API key that the engine requires on /v1: the first one of --api-key, else VLLM_API_KEY."""
        given = self.options.get("--api-key", ())
        return given[0] if given else {**environment, **self.assigned}.get("VLLM_API_KEY") or None


def default_entrypoint(image: str, args: Sequence[str]) -> tuple[str, ...]:
    """Returns the ENTRYPOINT of a well-known image, or an empty tuple if it is unknown.

    Args:
        image: image of the container.
        args: args of the container.

    Raises:
        CommandLineError: this version of the image may ignore a model that isn't given as ``--model``.
    """
    found = _VLLM_IMAGE.fullmatch(image)
    if not found:
        return ()
    old = found["major"] is not None and (int(found["major"]), int(found["minor"])) < _SERVES_POSITIONAL
    if old and args and not args[0].startswith("-"):
        raise CommandLineError(
            f"the entrypoint of {image} may ignore {args[0]!r} and serve a model of its own: write --model={args[0]}"
        )
    return SERVE


def read(
    command: Sequence[str],
    args: Sequence[str] = (),
    environment: Mapping[str, str | None] | None = None,
    entrypoint: Sequence[str] = (),
    *,
    complete: bool = True,
) -> CommandLine:
    """Reads the command line of a container.

    Args:
        command: command of the container; if empty, the image's ENTRYPOINT runs.
        args: args of the container.
        environment: variables of the container; None for a variable whose value is unknown.
        entrypoint: ENTRYPOINT of the image, which is used if ``command`` is empty.
        complete: whether ``environment`` has all variables but the image's own, that is, without ``envFrom``.

    Raises:
        CommandLineError: the command line starts no known engine, names no model, or can't be read.
    """
    environment = environment or {}
    if not command and not entrypoint:
        raise CommandLineError(
            "the container has no command, and the image's ENTRYPOINT isn't known: set spec.engine.entrypoint to it"
        )
    words = expand_all([*(command or entrypoint), *args], environment)
    return _checked(_found(words, environment, complete=complete))


def starts_engine(words: Sequence[str], environment: Mapping[str, str | None] | None = None) -> bool:
    """Whether the words name the program of an engine, even if the command line is invalid otherwise."""
    expanded = expand_all(words, environment or {})
    return _flags_begin(expanded) is not None or _script(expanded) is not None


def _found(words: Sequence[str], environment: Mapping[str, str | None], *, complete: bool) -> CommandLine:
    script = _script(words)
    if script is None:
        line = _engine(SimpleCommand(tuple(words), {}, conditional=False))
        if line is None:
            raise CommandLineError(f"{' '.join(words)[:200]!r} starts no engine that Tunecast knows: {_ADVICE}")
        return line
    commands = simple_commands(script[0], environment, script[1:], complete=complete)
    engines = [(command, line) for command in commands if (line := _engine(command))]
    if len(engines) != 1:
        count = "no engine that Tunecast knows" if not engines else f"{len(engines)} engines"
        raise CommandLineError(f"the shell's script starts {count}: {_ADVICE}, once")
    ((found, line),) = engines
    if found.conditional:
        raise CommandLineError(f"the shell's script starts the engine on a condition: {_ADVICE}, in any case")
    others = tuple(command.words for command in commands if command is not found)
    return replace(line, preparation=others, notes=(*line.notes, *found.notes, *_slips(script, others)))


def _slips(script: Sequence[str], others: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields a note for each flag near the engine's command that the engine doesn't receive."""
    ignored = [word for word in script[1:] if word.startswith("--") and word != "--"]
    if ignored and not _POSITIONAL.search(script[0]):
        yield f"the shell's script makes no use of {ignored[0]!r}, which stands behind it: write it into the script"
    for command in others:
        if command[0].startswith("-"):
            yield f"{command[0]!r} begins a command of its own: end the line before it with a backslash"


def _script(words: Sequence[str]) -> tuple[str, ...] | None:
    """Returns a shell's ``-c`` script and its arguments, or None if no shell runs."""
    start = next((i for i, word in enumerate(words) if word.rpartition("/")[2] in _SHELLS), None)
    if start is None or _is_engine(words[:start]):
        return None
    rest = iter(range(start + 1, len(words)))
    given = False
    for i in rest:
        word = words[i]
        if not word.startswith(("-", "+")) or word in {"-", "--"}:
            if word in {"-", "--"}:
                continue
            return tuple(words[i:]) if given else None
        given = given or (not word.startswith("--") and "c" in word)
        if word.endswith("o") and not word.startswith("--"):  # -o pipefail
            next(rest, None)
    return None


def _is_engine(words: Sequence[str]) -> bool:
    return _flags_begin(words) is not None


def _flags_begin(words: Sequence[str]) -> int | None:
    """Returns the index of the engine's first argument behind its launcher, or None without an engine."""
    for i, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name == "vllm" and words[i + 1 : i + 2] == ["serve"]:
            return i + 2
        if name != "vllm" and _PROGRAM.fullmatch(name):
            for j in range(i + 1, len(words) - 1):
                if words[j - 1] in _PYTHON_VALUES:
                    continue
                if words[j] == "-m" and words[j + 1] == API_SERVER:
                    return j + 2
                if words[j] == "-m" and words[j + 1 : j + 3] == [_CLI, "serve"]:
                    return j + 3
                if not words[j].startswith("-"):
                    break
    return None


def _engine(command: SimpleCommand) -> CommandLine | None:
    """Reads the engine that a simple command starts, or returns None. The launcher includes wrappers such as env."""
    words = list(command.words)
    begin = _flags_begin(words)
    if begin is None or words[0] in _ECHOES:
        return None
    if command.computed:
        raise unreadable(command.computed)
    launcher = words[:begin]
    assigned = dict(command.assigned)
    if "env" in launcher:
        for word in launcher[launcher.index("env") + 1 :]:
            name, equals, value = word.partition("=")
            assigned |= {name: value} if equals and not name.startswith("-") else {}
    positionals, options = parse_flags(words[begin:])
    serves = launcher[-1] == "serve"
    notes = [f"{word!r} is no flag, and ignored by {API_SERVER}" for word in positionals if not serves]
    _check_positionals(positionals, serves=serves)
    if not serves and positionals and "--model" not in options:
        raise CommandLineError(
            f"{API_SERVER} ignores {positionals[0]!r} and serves a model of its own: write --model={positionals[0]}"
        )
    launcher = [word for word in launcher if word != "exec"]
    model = positionals[0] if serves and positionals else None
    return CommandLine(tuple(launcher), tuple(words[begin:]), model, options, assigned, notes=tuple(notes))


def _check_positionals(words: Sequence[str], *, serves: bool) -> None:
    """Rejects words that vLLM would take for a model, or would reject, with an error that states their likely cause."""
    for word in words:
        if word.startswith("-") and " " in word:
            raise CommandLineError(f"{word!r} is one word: write the flag and its value as two, or as --flag=value")
        if word != word.strip():
            raise CommandLineError(
                f"{word!r} begins or ends with a space, as behind a backslash that ends no line: remove that backslash"
            )
    if serves and (words[:2] == ["vllm", "serve"] or words[:1] == ["serve"]):
        raise CommandLineError(
            "the image's ENTRYPOINT is vllm serve already: leave it out of args, or set spec.engine.entrypoint to"
            " another ENTRYPOINT"
        )
    if serves and len(words) > 1:
        raise CommandLineError(f"the words {' '.join(map(repr, words[1:]))} belong to no flag: remove them")


def _checked(line: CommandLine) -> CommandLine:
    """Reads the properties that all callers need, so that an unreadable command line fails early."""
    if line.positional and "--model" in line.options:
        raise CommandLineError(
            f"the model is named twice, as {line.positional!r} and as --model={line.text('--model')}: keep one"
        )
    if not line.model:
        raise CommandLineError("the command line names no model: write it behind `vllm serve`, or as --model=MODEL")
    if not 0 < line.port <= 65535:  # noqa: PLR2004
        raise CommandLineError(f"--port is {line.port}: write a port from 1 to 65535")
    _ = (line.tensor, line.pipeline, line.data, line.socket, line.root_path, line.compile_cache_directory)
    return line
