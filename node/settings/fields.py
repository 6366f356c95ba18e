"""What single settings may be: titles, addresses, UIDs, numbers and paths, each with the words for it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from node.security.distinguished_name import attributes_in


def from_folder(path: Path, info: ValidationInfo) -> Path:
    path = path.expanduser()
    return (info.context["folder"] / path).resolve() if info.context else path


def not_true(number: Any) -> Any:
    if isinstance(number, bool):  # which Python would take for 1 or 0
        raise ValueError(f"{str(number).lower()} is not a number")
    return number


def _compiles(patterns: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        if pattern.startswith("~"):
            try:
                re.compile(pattern[1:])
            except re.error as error:
                raise ValueError(f"the regular expression {pattern[1:]!r} is broken: {error}") from None
    return patterns


def _keyword(word: str) -> str:
    from pydicom.datadict import keyword_dict, tag_for_keyword

    if tag_for_keyword(word) is None:
        close = get_close_matches(word, keyword_dict, n=1)
        raise ValueError(f"{word} is no DICOM keyword" + (f"; did you mean {close[0]}?" if close else ""))
    return word


def _place(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        if text:
            raise ValueError(
                f"{text!r} is neither an address nor a network; a host name is not looked up"
            ) from None
    return text


def _certificate(text: str) -> str:
    if text and not re.fullmatch(r"(?i:sha256):[0-9A-Fa-f:]{64,95}", text):
        attributes_in(text)
    return text


def limits(words: str) -> dict[str, Any]:
    return {"allowed": words}


AE_TITLE = r"[!-?A-\[\]-~][ -?A-\[\]-~]{0,15}"  # PS3.5 6.2, AE; no @, which parts it from an address
AeTitle = Annotated[
    str,
    Field(
        pattern=rf"^{AE_TITLE}$",
        json_schema_extra=limits(
            "1 to 16 characters of plain ASCII, no blank at the start, no backslash, no @"
        ),
    ),
]
Host = Annotated[
    str,
    Field(
        pattern=r"^([^\s/@:]+|[^\s/@:]*(:[^\s/@:]*){2,})$",  # one colon parts a port; IPv6 has more
        json_schema_extra=limits("a host name or an address, without a port"),
    ),
]
Uid = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)*$",
        max_length=64,
        json_schema_extra=limits("digits and dots, at most 64"),
    ),
]
Port = Annotated[int, Field(ge=0, le=65535), BeforeValidator(not_true)]
MOST_DAYS = 36_525  # a hundred years; calendars end
Days = Annotated[int, Field(ge=0, le=MOST_DAYS), BeforeValidator(not_true)]
Seconds = Annotated[float, Field(gt=0, le=86400), BeforeValidator(not_true)]
DATABASE_URL = r"(sqlite:///[^?\s]|postgresql\+psycopg://).*"  # SQLite without a file keeps nothing
POSTGRESQL_URL = (  # user:password@host:port/name?…, none of it needed; one @, or a password's becomes a host
    r"postgresql\+psycopg://([^@:/?\[\]\s]*(:[^@\s]*)?@)?"
    r"(\[[^\]/?@\s]+\]|[^@:/?\[\]\s]*)(:[0-9]{1,5})?(/[^?@\s]*)?(\?[^@\s]*)?"
)
DatabaseUrl = Annotated[
    str,
    Field(
        pattern=rf"^({DATABASE_URL})?$",
        json_schema_extra=limits('"sqlite:///path/to/overread.db" or "postgresql+psycopg://user@host/name"'),
    ),
]
TritonUrl = Annotated[
    str,
    Field(
        pattern=r"^(unix:.+|[^\s/@]+:[0-9]+)$",
        json_schema_extra=limits("a host and a port: 127.0.0.1:8001"),
    ),
]
Folder = Annotated[Path, AfterValidator(from_folder)]
Place = Annotated[
    str,
    AfterValidator(_place),
    Field(json_schema_extra=limits("an address or a network: 10.0.0.5 or 10.0.0.0/24")),
]
Certificate = Annotated[
    str,
    AfterValidator(_certificate),
    Field(
        json_schema_extra=limits(
            'parts of its subject, "CN=ct1,O=Hospital", or "sha256:" and its fingerprint'
        )
    ),
]
Keyword = Annotated[str, AfterValidator(_keyword)]
Pattern = Annotated[str | tuple[str, ...], AfterValidator(_compiles)]
ObjectKind = Literal["seg", "sr", "pr", "sc", "ko", "reg"]
ReaderName = Literal["ct-lesions", "lung-nodules", "chest-xray", "polyps", "pet-ct"]


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )
