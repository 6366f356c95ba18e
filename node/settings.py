"""One validated, frozen tree of settings: ``overread.toml`` under ``OVERREAD_*`` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

AeTitle = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f]{1,16}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
ObjectKind = Literal["seg", "sr", "pr", "sc", "ko"]
ReaderName = Literal["ct-lesions", "lung-nodules", "chest-xray", "polyps", "pet-ct"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSettings(Section):
    data_dir: Path = Path("overread-data")
    ae_title: AeTitle = "OVERREAD"


class SourceSettings(Section):
    """A sender whose studies need another quiet period."""

    ae_title: AeTitle
    quiet_seconds: Annotated[float, Field(gt=0)]


class DicomSettings(Section):
    host: str = "127.0.0.1"
    port: Port = 11112
    allowed_callers: tuple[str, ...] = ("*",)
    quiet_seconds: Annotated[float, Field(gt=0)] = 10
    sources: tuple[SourceSettings, ...] = ()
    maximum_associations: Annotated[int, Field(ge=1)] = 100
    network_timeout: Annotated[float, Field(gt=0)] = 60

    def quiet_seconds_for(self, calling_ae_title: str) -> float:
        return next((s.quiet_seconds for s in self.sources if s.ae_title == calling_ae_title), self.quiet_seconds)


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: Port = 8080


class DatabaseSettings(Section):
    url: str = "sqlite:///overread-data/overread.db"


class EngineSettings(Section):
    kind: Literal["embedded", "triton"] = "embedded"
    url: str = "127.0.0.1:8001"
    models: Path | None = None  # the model repository; None: the one that came with Overread
    threads: Annotated[int, Field(ge=0)] = 0  # 0: as many as the machine has


class Peer(Section):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    ae_title: AeTitle
    host: str
    port: Port


class DestinationSettings(Peer):
    objects: tuple[ObjectKind, ...] = ("seg", "sr")
    confirm: bool = False
    retry_seconds: Annotated[float, Field(gt=0)] = 30  # after a failed attempt; doubles up to an hour


class ArchiveSettings(Peer):
    """Where priors are found and fetched."""


class RouteSettings(Section):
    """``match``: DICOM keyword to a value, a list of values, or ``~regular expression`` (case-insensitive)."""

    reader: ReaderName
    match: dict[str, str | tuple[str, ...]]
    priority: Literal["routine", "stat"] = "routine"


class Settings(Section):
    node: NodeSettings = NodeSettings()
    dicom: DicomSettings = DicomSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    engine: EngineSettings = EngineSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    archives: tuple[ArchiveSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
