"""Says in words what a key allows and what is wrong with a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from node.settings import Settings
from storage.urls import without_secrets

Key = tuple[str | int, ...]
Schema = Mapping[str, Any]


def problems(error: ValidationError, given: Mapping[str, Any], place: Callable[[Key], str]) -> list[str]:
    """One line for each key that is wrong: where it stands, its path, its value and what is allowed.

    ``given`` is what was validated; ``place`` tells where a key was set, empty where it was not.
    """
    schema = Settings.model_json_schema()
    lines = {}
    for detail in error.errors():
        key = _in(given, detail["loc"])
        where = place(key)
        if key not in lines:
            lines[key] = (f"{where}: " if where else "") + _problem(detail, key, schema)
    return list(lines.values())


def allowed(schema: Schema, root: Schema) -> str:
    """What a value may be, for instance "a whole number from 0 to 65535"; empty for any text."""
    schema = _resolve(schema, root)
    if words := schema.get("allowed"):
        return str(words)
    if "enum" in schema:
        return either([f'"{choice}"' for choice in schema["enum"]])
    if "anyOf" in schema:
        return either(
            [allowed(choice, root) or "text" for choice in schema["anyOf"] if choice.get("type") != "null"]
        )
    match schema.get("type"):
        case "integer" | "number" as kind:
            return ("a whole number" if kind == "integer" else "a number") + _range(schema)
        case "boolean":
            return "true or false"
        case "array" if "items" in schema:
            return f"a list, each {allowed(schema['items'], root) or 'text'}"
        case "object":
            return "a table of " + ", ".join(schema.get("properties", ["key = value"]))
        case "string" if schema.get("format") == "path":
            return "a path"
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def dotted(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def _problem(detail: Mapping[str, Any], key: Key, root: Schema) -> str:
    value = without_secrets(repr(detail["input"]))
    if len(value) > 80:
        value = value[:77] + "…"
    match detail["type"]:
        case "extra_forbidden":
            siblings = list(_schema_of(key[:-1], root).get("properties", {}))
            known = ", ".join(siblings)
            hint = did_you_mean(str(key[-1]), siblings)
            return f"{dotted(key)} = {value} is not a setting.{hint} Known here: {known}."
        case "missing":
            return f"{dotted(key)} is missing; it is {allowed(_schema_of(key, root), root) or 'text'}."
        case "value_error":
            reason = str(detail["ctx"]["error"])
            sentence = reason if reason.endswith("?") else f"{reason}."
            return f"{dotted(key)}: {sentence}" if key else sentence
        case "tuple_type" if isinstance(detail["input"], Mapping):
            name = dotted(key)
            return (
                f"{name} is a list, and this is one table; write [[{name}]], with two brackets, above each."
            )
    return f"{dotted(key)} = {value} is not allowed; it is {allowed(_schema_of(key, root), root) or 'text'}."


def _in(given: Any, location: Iterable[str | int]) -> Key:
    """The part of pydantic's location that names keys (the rest names union members and validators)."""
    key: list[str | int] = []
    for part in location:
        if isinstance(given, Mapping) and isinstance(part, str):
            key.append(part)
            given = given.get(part)
        elif isinstance(given, list | tuple) and isinstance(part, int) and part < len(given):
            key.append(part)
            given = given[part]
        else:
            break
    return tuple(key)


def _schema_of(key: Key, root: Schema) -> Schema:
    schema = root
    for part in key:
        schema = _resolve(schema, root)
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
            schema = schema if isinstance(schema, Mapping) else {}
    return _resolve(schema, root)


def _resolve(schema: Schema, root: Schema) -> Schema:
    return root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    start = f" of at least {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
    end = f" up to {high:g}" if high is not None else ""
    return start + end
