"""Reads settings from ``overread.toml`` under ``OVERREAD_*`` environment variables.

``OVERREAD_DICOM__PORT=104`` sets ``dicom.port``; lists and tables are given as JSON. A relative path is
taken from the folder of the settings file, and from the current directory where there is no file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from node.settings import Settings, SettingsError
from node.settings.fields import Section
from node.settings.words import Key, did_you_mean, problems
from storage.urls import without_secrets

DEFAULT_FILE = Path("overread.toml")
PREFIX = "OVERREAD_"
NOT_SETTINGS = {"OVERREAD_CONFIG", "OVERREAD_DEBUG"}


class _Environment(Settings, BaseSettings):
    """The same tree, as pydantic-settings reads it from variables."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


def load_settings(path: Path | None = None) -> Settings:
    """The settings of ``path``, or of ``./overread.toml`` where there is one, else the defaults.

    Raises:
        SettingsError: one line for each key that is unknown or has a value that is not allowed.
    """
    path = path or default_file()
    text = _read(path) if path else ""
    in_file, in_environment = _parse(text, path), _from_environment()
    merged = _merge(in_file, in_environment)
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            merged.setdefault(name, {})

    def place(key: Key) -> str:
        if (variable := _variable(key)) in _upper_environment():
            return variable
        line = line_of(text, key)
        return f"{path}, line {line}" if line else str(path) if path and not key else ""

    _refuse_password(in_file, place)
    try:
        folder = path.resolve().parent if path else Path.cwd()
        return Settings.model_validate(merged, context={"folder": folder})
    except ValidationError as error:
        raise SettingsError("\n".join(problems(error, merged, place))) from None


def overridden(path: Path | None = None) -> list[str]:
    """What the settings file says in vain, for the environment, which goes over it, says otherwise: one
    sentence for each key, without the values.

    Raises:
        SettingsError: the file or the environment cannot be read.
    """
    path = path or default_file()
    if path is None:
        return []
    text = _read(path)
    keys = _differing(_parse(text, path), _from_environment())
    return [
        f"{'.'.join(key)} of {path}, line {line_of(text, key)}, has no effect: {_variable(key)} in the "
        "environment goes over it"
        for key in keys
    ]


def line_of(text: str, key: Key) -> int | None:
    """The line of a TOML text on which a key, or the nearest table around it, is set; counted from 1."""
    lines: dict[Key, int] = {}
    table: Key = ()
    counts: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\"-]+)\s*\]", line):
            table = _split(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif assignment := re.match(r"\s*([\w.\"-]+)\s*=", line):
            lines.setdefault(table + _split(assignment[1]), number)
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return lines[key[:length]]
    return None


def default_file() -> Path | None:
    """``./overread.toml`` where there is one."""
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def in_a_line(settings: Settings, path: Path | None) -> str:
    """Which node these settings, of ``path`` if any, are for."""
    told = f"as {path} says" if path else f"by default: there is no {DEFAULT_FILE} here"
    return f"{settings.node.ae_title}, data in {settings.node.data_dir}, {told}"


def _split(dotted: str) -> Key:
    return tuple(part.strip('"') for part in dotted.split("."))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no settings file {path}; `overread check --print-config` prints one with all defaults."
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not a text file in UTF-8 (byte {error.start}).") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f'{path} is not valid TOML: {error}. A text needs quotes: key = "value".'
        ) from None


def _from_environment() -> dict[str, Any]:
    sections = Settings.model_fields
    for variable in sorted(_upper_environment()):
        section = variable.removeprefix(PREFIX).partition("__")[0].lower()
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS and section not in sections:
            raise SettingsError(
                f"The environment variable {variable} is not a setting.{did_you_mean(section, sections)} "
                f"{PREFIX}DICOM__PORT, for instance, sets dicom.port."
            )
    try:
        return EnvSettingsSource(_Environment)()
    except UnreadableVariable as error:
        value = getattr(error.__cause__, "doc", None)
        broken = next((name for name in os.environ if os.environ[name] == value), "OVERREAD_*")
        raise SettingsError(
            f"The environment variable {broken} is not JSON. Lists and tables are given as JSON: "
            """OVERREAD_DICOM__ALLOWED_CALLERS='["CT1", "CT2"]'."""
        ) from None


def _upper_environment() -> set[str]:
    return {name.upper() for name in os.environ}


def _variable(key: Key) -> str:
    """The variable that sets a key, or the list it is in."""
    names = []
    for part in key:
        if isinstance(part, int):
            break
        names.append(part.upper())
    return PREFIX + "__".join(names)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _differing(below: Mapping[str, Any], above: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The keys that both set, to different values; a variable's number is still a text."""
    keys: list[tuple[str, ...]] = []
    for key in below.keys() & above.keys():
        one, other = below[key], above[key]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            keys += [(key, *rest) for rest in _differing(one, other)]
        elif str(one).casefold() != str(other).casefold():
            keys.append((key,))
    return sorted(keys)


def _refuse_password(in_file: Mapping[str, Any], place: Callable[[Key], str]) -> None:
    database = in_file.get("database")
    url = database.get("url") if isinstance(database, Mapping) else None
    if isinstance(url, str) and without_secrets(url) != url:
        raise SettingsError(
            f"{place(('database', 'url'))}: database.url = {without_secrets(url)!r} holds a password; "
            "set OVERREAD_DATABASE__URL, or name a file that holds the URL in database.url_file."
        )
