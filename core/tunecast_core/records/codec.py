"""Converts frozen dataclasses to JSON and back, and checks every field. Needs only the standard library.

Fields are written in camelCase. Unknown fields are ignored, so that an older reader accepts a newer record.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from tunecast_core.errors import MalformedError

T = TypeVar("T")
_BEYOND = 2**63  # the API server, other JSON readers and floats accept smaller numbers


def camel(name: str) -> str:
    """Converts a name to camelCase: ``init_seconds`` -> ``initSeconds``."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def to_json(value: Any) -> Any:
    """Converts dataclasses, mappings and tuples to types of ``json``. Fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((camel(f.name), getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_json(field) for name, field in pairs if field is not None}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def canonical(value: Any) -> bytes:
    """Returns the canonical JSON of a value, from which digests and signatures are computed."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(kind: type[T], data: bytes, what: str, limit: int = 4 * 2**20) -> T:
    """Reads a record of ``kind`` from JSON bytes.

    Raises:
        MalformedError: ``data`` is longer than ``limit`` bytes or isn't JSON, or a field is missing, has another type,
            or can't be written as JSON again.
    """
    if len(data) > limit:
        raise MalformedError(f"{what} has {len(data)} bytes, more than the {limit} that are read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what} is no JSON: {error}") from error
    return from_json(kind, value, what)


def from_json(kind: type[T], value: Any, what: str) -> T:
    """Reads a record of ``kind`` from a value that ``json`` has parsed; see ``decode``."""
    return typing.cast("T", _convert(kind, value, what))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _convert(inner, value, where)
    if origin is tuple:
        return tuple(
            _convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(_checked(list, value, where))
        )
    if origin in (dict, Mapping):
        items = _checked(dict, value, where).items()
        return {_checked(str, name, where): _convert(arguments[1], item, f"{where}.{name}") for name, item in items}
    if origin is typing.Literal:
        return _one_of(arguments, value, where)
    if kind is Any:
        return value
    if kind is float:
        return _number(value, where)
    return _checked(kind, value, where)


def _record(kind: Any, value: Any, where: str) -> Any:
    given = _checked(dict, value, where)
    fields = {}
    for field in dataclasses.fields(kind):
        name = camel(field.name)
        if name in given:
            fields[field.name] = _convert(_hints(kind)[field.name], given[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise MalformedError(f"{where} lacks the field {name}")
    return kind(**fields)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _checked(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MalformedError(f"{where} should be of type {kind.__name__}, not {type(value).__name__}")
    if isinstance(value, int):
        _ordinary(value, where)
    if isinstance(value, str):
        _check_text(value, where)
    return value


def _check_text(value: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"{where} should be text, and holds half of a surrogate pair") from error


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise MalformedError(f"{where} should be one of {', '.join(choices)}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedError(f"{where} should be a number")
    return float(_ordinary(float(_ordinary(value, where)), where))  # rounding to a float may exceed the limit


def _ordinary(value: float, where: str) -> float:
    if not -_BEYOND < value < _BEYOND:
        raise MalformedError(f"{where} should be a number of ordinary size")
    return value
