"""Reads the simple commands of a shell script as far as possible without running it. Pure.

``shlex`` is not sufficient, because it drops the quotes, which decide whether ``$NAME`` is a variable or text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunecast_core.errors import CommandLineError

_BLANKS = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_REDIRECTION = re.compile(r"\d*(?:>>|>\||>&|<&|<>|&>>|&>|>|<(?!<))(?:[ \t]|\\\n)*")
_SEPARATOR = re.compile(r"&&|\|\||\|&|;;|[;&|\n]")
_BASH_TEST = re.compile(r"\[\[\s.*?\s\]\](?=[\s;&|]|$)", re.DOTALL)
_TESTS = {"[", "[[", "test", "!"}
_VARIABLE = re.compile(r"\$(?:(\w+|[@*#?$!-])|\{(\w+|[@*])(?:(:?)[-=]([^{}$`\"'\\]*))?\})")
_SUBSTITUTION = re.compile(r"\$\(\([^()]*\)\)|\$\([^()]*\)|`[^`]*`")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PLAIN = re.compile(r"[^\s\\'\"$`;&|<>()#]+|#")
_OPENING = {"if", "while", "until", "for", "case", "select"}
_CLOSING = {"fi", "done", "esac"}
_SHOWN = re.compile(r"\$\([^()\n]*\)|\S{1,40}")  # excerpt of an unreadable part for an error message
_KEYWORDS = _OPENING | _CLOSING | {"then", "else", "elif", "do", "in", "!", "{", "}"}
_DECLARES = {"export", "declare", "typeset", "local", "readonly"}
_READS = {"read", "mapfile", "readarray", "unset"}  # commands that give variables unknown values
_SOURCES = {"source", "."}
_VIRTUAL_ENVIRONMENT = "/activate"  # sets no variable that a command line uses
_ADVICE = "write the engine's command line out, such as `exec vllm serve MODEL --flags`"
MAX_EXPANDED = 2**20  # characters; without a limit, variables of variables double their size with each level
MAX_WORDS = 1024  # of a script
_UNREADABLE = {"eval", "function", "shift", "(("}


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """One command of a script with its words and variables, and whether it runs unconditionally."""

    words: tuple[str, ...]
    assigned: Mapping[str, str]  # variables that the script has assigned up to and for this command
    conditional: bool  # whether it is within if, while, for or case, or behind a test
    computed: str = ""  # source text of a command substitution among its words
    notes: tuple[str, ...] = ()  # assumptions that were made to read it


def unknown(name: str) -> str:
    """Returns the placeholder of an unknown value, in the form in which the kubelet leaves unknown variables."""
    return f"$({name})"


def unreadable(text: str) -> CommandLineError:
    """Returns the error for a part of a script whose value is unknown before the script runs."""
    return CommandLineError(f"only a shell can evaluate {text!r}: {_ADVICE}")


def check_expanded(characters: int) -> None:
    """Raises CommandLineError if the expanded values of variables exceed the limit on their total size."""
    if characters > MAX_EXPANDED:
        raise CommandLineError(
            f"the values of variables expand to more than {MAX_EXPANDED} characters: write variables that refer to"
            " each other less often"
        )


def simple_commands(
    script: str, environment: Mapping[str, str | None], arguments: Sequence[str] = (), *, complete: bool = True
) -> list[SimpleCommand]:
    """Returns the script's commands with their variables expanded. An unknown value stays ``$(NAME)``.

    Args:
        script: the script, which follows the shell's ``-c``.
        environment: variables of the container; None for a variable whose value is unknown.
        arguments: arguments behind the script: ``$0``, ``$1`` and so on.
        complete: whether ``environment`` has all variables but the image's own.

    Raises:
        CommandLineError: the script uses a construct that only a shell can evaluate.
    """
    positional = {str(number): value for number, value in enumerate(arguments)}
    reader = _Reader(script, {**environment, **positional}, tuple(arguments[1:]), complete)
    return list(reader.commands())


@dataclass
class _Reader:
    text: str
    variables: dict[str, str | None]
    arguments: tuple[str, ...]
    complete: bool
    at: int = 0
    assigned: dict[str, str] = field(default_factory=dict)
    depth: int = 0  # nesting of if, while, for, case
    guarded: bool = False  # whether || or a test precedes the command
    printed: list[str] = field(default_factory=list)  # command substitutions in the current command
    computed: str = ""  # the first command substitution of the current command, except in assignments
    notes: list[str] = field(default_factory=list)
    expanded: int = 0  # characters that variables have expanded to
    read: int = 0  # words

    def commands(self) -> Iterator[SimpleCommand]:
        while self.at < len(self.text):
            words = self._words()
            self.read += len(words)
            if self.read > MAX_WORDS:
                raise CommandLineError(f"the script has more than {MAX_WORDS} words: {_ADVICE}")
            if found := self._command(words):
                yield found
            if separator := _SEPARATOR.match(self.text, self.at):
                self.at = separator.end()
                tested = separator[0] == "&&" and (self.guarded or not _TESTS.isdisjoint(words[:1]))
                self.guarded = separator[0] == "||" or tested

    def _command(self, words: list[str]) -> SimpleCommand | None:
        words = self._without_keywords(words)
        own: dict[str, str] = {}
        while words and (match := _ASSIGNMENT.fullmatch(words[0])):
            own[match[1]] = match[2]
            words = words[1:]
        if words and words[0] in _DECLARES:
            own |= {match[1]: match[2] for word in words[1:] if (match := _ASSIGNMENT.fullmatch(word))}
            self.complete = self.complete and not self.computed
            words = []
        if not words:
            self._assign(own)
            return None
        if words[0] in _UNREADABLE:
            raise CommandLineError(f"the script uses {words[0]}: {_ADVICE}")
        if words[0] == "set" and "--" in words:
            raise CommandLineError(f"the script uses set --: {_ADVICE}")
        if words[0] in _SOURCES:
            self.complete = self.complete and words[-1].endswith(_VIRTUAL_ENVIRONMENT)
        elif words[0] in _READS:
            self.variables |= dict.fromkeys(words[1:])
        assigned = {**self.assigned, **own}
        return SimpleCommand(tuple(words), assigned, self._uncertain, self.computed, tuple(self.notes))

    @property
    def _uncertain(self) -> bool:
        return self.depth > 0 or self.guarded

    def _without_keywords(self, words: list[str]) -> list[str]:
        while words and words[0] in _KEYWORDS:
            keyword, words = words[0], words[1:]
            self.depth += (keyword in _OPENING) - (keyword in _CLOSING)
            if keyword in {"for", "case", "select"}:
                return []
        return words

    def _assign(self, own: Mapping[str, str]) -> None:
        """Records assignments. A conditional assignment or a command substitution makes the value unknown."""
        for name, value in own.items():
            computed = any(text in value for text in self.printed)
            self.variables[name] = None if self._uncertain or computed else value
            self.assigned[name] = unknown(name) if self._uncertain else value

    def _words(self) -> list[str]:
        words: list[str] = []
        self.printed, self.computed = [], ""
        while self.at < len(self.text):
            if blanks := _BLANKS.match(self.text, self.at):
                self.at = blanks.end()
            elif comment := _COMMENT.match(self.text, self.at):
                self.at = comment.end()
            elif (test := _BASH_TEST.match(self.text, self.at)) and _KEYWORDS.issuperset(words):
                self.at = test.end()
                words.append("[[")
            elif redirection := _REDIRECTION.match(self.text, self.at):
                self.at = redirection.end()
                self._word()
            elif _SEPARATOR.match(self.text, self.at):
                break
            else:
                before = len(self.printed)
                word = self._word()
                assigns = bool(words and words[0] in _DECLARES) or all(map(_ASSIGNMENT.fullmatch, words))
                if self.printed[before:] and not (assigns and _ASSIGNMENT.fullmatch(word[0])):
                    self.computed = self.computed or self.printed[before]
                words += word
        return words

    def _word(self) -> list[str]:
        """Reads one word. An unquoted variable can expand to no word or to several."""
        parts: list[str] = [""]
        quoted = False
        begin = self.at
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t\n;&|<>":
                break
            if self.text.startswith('"$@"', self.at):
                self._splice_arguments(parts)
                self.at += 4
            elif character in "'\"":
                quoted = True
                self._quoted(parts)
            elif character == "\\":
                parts[-1] += self.text[self.at + 1 : self.at + 2].replace("\n", "")
                self.at += 2
            elif character in "$`":
                self._unquoted_variable(parts)
            elif plain := _PLAIN.match(self.text, self.at):
                home = plain[0].startswith("~") and self.at == begin
                if home and plain[0][1:2] not in {"", "/"}:
                    break
                parts[-1] += self._value("HOME") + plain[0][1:] if home else plain[0]
                self.at = plain.end()
            else:
                break
        if self.at == begin:
            raise self._unreadable()
        return parts if quoted else [part for part in parts if part]

    def _quoted(self, parts: list[str]) -> None:
        quote, self.at = self.text[self.at], self.at + 1
        while self.at < len(self.text) and (character := self.text[self.at]) != quote:
            following = self.text[self.at + 1 : self.at + 2]
            if quote == '"' and self._substituted(parts):
                continue
            if quote == '"' and character == "\\" and following in {"$", "`", '"', "\\", "\n"}:
                parts[-1] += following.replace("\n", "")
                self.at += 2
            elif quote == '"' and character == "$":
                match = self._variable("({")
                parts[-1] += self._expanded(match) if match else "$"
            elif quote == '"' and character == "`":
                raise self._unreadable()
            else:
                parts[-1] += character
                self.at += 1
        if self.at >= len(self.text):
            raise CommandLineError(f"the script has a {quote} that is never closed: close it")
        self.at += 1

    def _substituted(self, parts: list[str]) -> bool:
        """Keeps a command substitution as its source text."""
        match = _SUBSTITUTION.match(self.text, self.at)
        if match is not None:
            parts[-1] += match[0]
            self.at = match.end()
            if not self._is_kubelets(match[0]):
                self.printed.append(match[0])
        return match is not None

    def _is_kubelets(self, text: str) -> bool:
        """Whether ``text`` is a variable with an unknown value that the kubelet expands before the shell runs."""
        return any(value is None and text == unknown(name) for name, value in self.variables.items())

    def _unquoted_variable(self, parts: list[str]) -> None:
        if self._substituted(parts):
            return
        match = self._variable("({'\"")
        if match is None:
            parts[-1] += "$"
        elif (match[1] or match[2]) in {"@", "*"}:
            self._splice_arguments(parts)
        else:
            value = self._expanded(match)
            _splice(parts, value.split(), joined_left=value[:1].strip() != "", joined_right=value[-1:].strip() != "")

    def _variable(self, special: str) -> re.Match[str] | None:
        """Returns the variable at the current position, or None if the dollar sign is text."""
        match = _VARIABLE.match(self.text, self.at)
        following = self.text[self.at + 1 : self.at + 2]
        if match is None and (self.text[self.at] != "$" or following in tuple(special)):
            raise self._unreadable()
        self.at = match.end() if match else self.at + 1
        return match

    def _unreadable(self) -> CommandLineError:
        found = _SHOWN.match(self.text, self.at)
        return unreadable(found[0] if found else "")

    def _expanded(self, match: re.Match[str]) -> str:
        name, also_empty, default = match[1] or match[2], match[3], match[4]
        if name in {"@", "*"}:
            return self._counted(" ".join(self.arguments))
        absent = name not in self.variables
        unset = absent or (bool(also_empty) and self.variables[name] == "")
        if default is None or not unset or (absent and not self.complete):
            return self._value(name)
        if absent and default:
            self.notes.append(
                f"the script takes {default!r} where {name} isn't set, as in the container's env: write {name} there"
                " if the image sets it"
            )
        return default

    def _value(self, name: str) -> str:
        value = self.variables.get(name)
        return self._counted(unknown(name) if value is None else value)

    def _splice_arguments(self, parts: list[str]) -> None:
        self._counted(" ".join(self.arguments))
        _splice(parts, self.arguments)

    def _counted(self, value: str) -> str:
        self.expanded += len(value)
        check_expanded(self.expanded)
        return value


def _splice(parts: list[str], values: Sequence[str], *, joined_left: bool = True, joined_right: bool = True) -> None:
    """Splits a value into words and joins them to the current word, as a shell's field splitting does."""
    if not joined_left:
        parts.append("")
    for number, value in enumerate(values):
        if number:
            parts.append("")
        parts[-1] += value
    if values and not joined_right:
        parts.append("")
