"""Prints a whole tree of settings as commented TOML that reads back as the same tree."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import tomlkit
from pydantic.fields import FieldInfo

from node.settings import Settings
from node.settings.fields import Section
from node.settings.routes import DEFAULT_ROUTES
from node.settings.security import AllowedCaller
from node.settings.words import Schema, allowed
from storage.urls import without_secrets

WIDTH = 100
SAID = {"", "a path", "true or false"}  # what the value beside it already shows
EXAMPLES = {
    "name": '"pacs"',
    "ae_title": '"PACS"',
    "host": '"10.0.0.20"',
    "port": "104",
    "quiet_seconds": "60.0",
    "reader": '"lung-nodules"',
    "match": '{ Modality = "CT", StudyDescription = "~chest|lung" }',
}


def print_config(settings: Settings) -> str:
    """TOML with every key, its meaning and what it allows; a key that is not set is commented out.

    So is a database URL that holds a password: it stays in the environment or in ``database.url_file``.
    """
    settings = _without_url(settings)
    schema = Settings.model_json_schema()
    lines = ["# Overread's settings. A relative path is taken from this file's folder."]
    for name, field in Settings.model_fields.items():
        lines += ["", *_section(name, getattr(settings, name), field, schema)]
    return "\n".join(lines) + "\n"


def _section(name: str, value: Any, field: FieldInfo, schema: Schema) -> Iterator[str]:
    kind = _section_kind(field)
    yield from _comment(" ".join((kind.__doc__ or "").split()))
    if isinstance(value, Section):
        yield f"[{name}]"
        yield from _keys(name, value, schema)
        return
    if not value:
        yield from _example(name, kind)
        yield from _shipped_routes() if name == "routes" else ()
    for number, item in enumerate(value):
        yield f"[[{name}]]"
        yield from _keys(name, item, schema, explain=number == 0)


def _keys(name: str, section: Section, schema: Schema, explain: bool = True) -> Iterator[str]:
    properties = schema["$defs"][type(section).__name__]["properties"]
    nested = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if _section_kind(field) is not Section:
            nested.append((f"{name}.{key}", value, field))
            continue
        if explain:
            yield from _comment(_meaning(field, properties[key], schema))
        yield f"# {key} =" if value in (None, "") else f"{key} = {_toml(value)}"
    for path, value, field in nested:
        yield from _section(path, value, field, schema)


def _example(name: str, kind: type[Section]) -> Iterator[str]:
    yield f"# [[{name}]]"
    for key, field in kind.model_fields.items():
        value = EXAMPLES[key] if field.is_required() else _toml(field.default)
        yield from _comment(f"{key} = {value}", after=field.description or "")


def _shipped_routes() -> Iterator[str]:
    yield from ("#", "# As long as none is given, these are in force:")
    for route in DEFAULT_ROUTES:
        match = _toml(dict(route.match))
        yield f'# [[routes]]\n# reader = "{route.reader}"\n# match = {match}\n# priority = "{route.priority}"'


def _meaning(field: FieldInfo, property_: Schema, schema: Schema) -> str:
    description = " ".join((field.description or "").split())
    limits = allowed(property_, schema)
    return f"{description} ({limits})" if limits not in SAID else description


def _comment(text: str, after: str = "") -> list[str]:
    lines = textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
    if after:
        indent = lines[-1].ljust(32) + "  # "
        lines[-1:] = textwrap.wrap(
            after, WIDTH, initial_indent=indent, subsequent_indent="#".ljust(34) + "# "
        )
    return lines


def _section_kind(field: FieldInfo) -> type[Section]:
    """The section a field holds, alone or in a list; ``Section`` itself where it holds what is written
    on one line."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section) and kind is not AllowedCaller:
            return kind
    return Section


def _without_url(settings: Settings) -> Settings:
    """The same without a database URL that must not be printed or that follows from ``node.data_dir``."""
    database = settings.database
    follows = database.url == f"sqlite:///{settings.node.data_dir / 'overread.db'}"
    if follows or database.url_file or without_secrets(database.url) != database.url:
        return settings.model_copy(update={"database": database.model_copy(update={"url": ""})})
    return settings


def _toml(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, AllowedCaller):
        value = value.text or value.model_dump(exclude_defaults=True)
    if isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{tomlkit.key(key).as_string()} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}"
    return str(tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string())
