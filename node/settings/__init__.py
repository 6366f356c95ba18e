"""One validated, frozen tree of settings; ``node.settings.file`` reads it from a file and the environment.

The docstring below each field is what ``overread check --print-config`` prints beside it.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from node.settings.fields import (
    DATABASE_URL,
    MOST_DAYS,
    POSTGRESQL_URL,
    AeTitle,
    DatabaseUrl,
    Days,
    Folder,
    Host,
    Keyword,
    ObjectKind,
    Pattern,
    Place,
    Port,
    ReaderName,
    Seconds,
    Section,
    TritonUrl,
    Uid,
    not_true,
)
from node.settings.results import ResultsSettings
from node.settings.security import AllowedCaller, DicomTlsSettings, WebTlsSettings
from node.settings.upkeep import PixelsSettings, RetentionSettings


class SettingsError(ValueError):
    """Settings that cannot be used; each line of the message names one key, its value and what is allowed."""


class NodeSettings(Section):
    """The node itself."""

    data_dir: Folder = Path("overread-data")
    """Where images, results and the SQLite database are kept."""
    ae_title: AeTitle = "OVERREAD"
    """The AE title this node answers to and calls with."""


class SourceSettings(Section):
    """A sender whose studies need another quiet period."""

    ae_title: AeTitle
    """The sender's AE title."""
    quiet_seconds: Seconds
    """Its studies are complete after this long without an image."""


class DicomSettings(Section):
    """The receiver."""

    host: Host = "127.0.0.1"
    """The address to listen on; "0.0.0.0" listens to the whole hospital."""
    port: Port = 11112
    """The port to listen on; 0 takes a free one."""
    allowed_callers: tuple[AllowedCaller, ...] = (AllowedCaller(),)
    """Who may send; "*" is anyone."""
    quiet_seconds: Seconds = 10
    """A study is complete after this long without an image."""
    sources: tuple[SourceSettings, ...] = ()
    """Senders that need another quiet period."""
    read_ahead_seconds: Annotated[float, Field(ge=0, le=86400), BeforeValidator(not_true)] = 2
    """After this long without an image a study is read ahead, while its quiet period goes on; 0 for never."""
    maximum_associations: Annotated[int, Field(ge=1)] = 100
    """How many senders may be connected at once."""
    maximum_associations_per_sender: Annotated[int, Field(ge=1), BeforeValidator(not_true)] = 64
    """How many connections one address may have of those."""
    network_timeout: Seconds = 60
    """A connection that stays silent for this many seconds is closed."""
    transport: Literal["fast", "stock"] = "fast"
    """How associations are served: "fast" by one thread each, "stock" by pynetdicom's own, slower."""
    private_sop_classes: tuple[Uid, ...] = ()
    """SOP Class UIDs to accept beside the standard's storage classes."""
    durable: bool = True
    """Answer success only when the image is on the disk itself. false is for storage that survives a
    power cut by itself, such as a controller with a battery."""
    minimum_free_mb: Annotated[int, Field(ge=0), BeforeValidator(not_true)] = 1024
    """Refuse images, until there is room again, when less than this is free on the disk."""
    maximum_object_mb: Annotated[int, Field(ge=1), BeforeValidator(not_true)] = 16384
    """The most one image may have."""
    tls: DicomTlsSettings = DicomTlsSettings()

    @model_validator(mode="after")
    def _secure(self) -> Self:
        if any(caller.certificate for caller in self.allowed_callers) and not self.tls.enabled:
            raise ValueError("allowed_callers asks for a certificate, which needs tls.enabled = true")
        return self

    @property
    def lets_anyone_in(self) -> bool:
        """Whether all who reach the node may send: it is heard beyond this machine, and asks for no name, no
        address and no certificate."""
        return not _loopback(self.host) and AllowedCaller() in self.allowed_callers and not self.tls.enabled

    def quiet_seconds_for(self, calling_ae_title: str) -> float:
        return next(
            (s.quiet_seconds for s in self.sources if s.ae_title == calling_ae_title), self.quiet_seconds
        )


class WebSettings(Section):
    """The status page, its JSON and /metrics."""

    host: Host = "127.0.0.1"
    """The address to listen on; beyond this machine the page asks for a login."""
    port: Port = 8080
    """The port to listen on; 0 takes a free one."""
    login: Literal["auto", "always"] = "auto"
    """Ask for a login: where others than this machine are let in (another host, names or proxies are set), or
    always."""
    behind_login: bool = False
    """Something in front of the page asks for a login, or lets nobody but this machine through: then "auto"
    asks for none."""
    session_hours: Annotated[float, Field(gt=0, le=8784), BeforeValidator(not_true)] = 12
    """How long a login lasts."""
    idle_minutes: Annotated[float, Field(gt=0, le=527040), BeforeValidator(not_true)] = 60
    """How long it lasts when it is not used."""
    metrics: Literal["login", "open"] = "login"
    """Whether /metrics asks for a login where the page does; it names no patient."""
    names: tuple[Host, ...] = ()
    """Further names that the page is asked for by, such as that of a proxy."""
    proxies: tuple[Place, ...] = ()
    """Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    tls: WebTlsSettings = WebTlsSettings()

    @property
    def asks_login(self) -> bool:
        let_others_in = not _loopback(self.host) or bool(self.names or self.proxies)
        return self.login == "always" or (let_others_in and not self.behind_login)


class DatabaseSettings(Section):
    """What is remembered."""

    url: DatabaseUrl = Field(default="", repr=False)
    """SQLite or PostgreSQL; not given, it is overread.db in node.data_dir. A URL with a password
    belongs in OVERREAD_DATABASE__URL or in url_file, not here."""
    url_file: Folder | None = None
    """A file that holds the URL and nothing else, for a URL with a password."""


class TritonSettings(Section):
    """How to talk to Triton."""

    timeout_seconds: Seconds = 120
    """How long one answer may take."""
    wait_seconds: Seconds = 300
    """How long a call waits for a server that can take it."""
    shared_memory: Literal["auto", "on", "off"] = "auto"
    """Hand volumes over in shared memory: to servers on this host; to all; to none."""
    headers_file: Folder | None = None
    """A file of lines that are sent with every call, such as "authorization: Bearer ..."."""
    tls: bool = False
    """Encrypt."""
    root_certificates: Folder | None = None
    """A PEM file that verifies the server; not given, the system's."""
    private_key: Folder | None = None
    """A PEM file that identifies this node to the server."""
    certificate_chain: Folder | None = None
    """A PEM file that goes with the private key."""


class EngineSettings(Section):
    """Where the models run."""

    kind: Literal["embedded", "triton"] = "embedded"
    """In this process, or on a Triton server."""
    provider: Literal["onnxruntime", "openvino"] = "onnxruntime"
    """What runs the models in this process; OpenVINO is faster on volumes, but has to be installed."""
    url: TritonUrl | tuple[TritonUrl, ...] = "127.0.0.1:8001"
    """Triton's gRPC address, or several of servers with the same models; the embedded engine does not use
    it."""
    models: Folder | None = None
    """The model repository; not given, it is the one that came with Overread."""
    threads: Annotated[int, Field(ge=0)] = 0
    """How many threads a model may use; 0 is as many as the machine has."""
    triton: TritonSettings = TritonSettings()


class LogSettings(Section):
    """What the node writes to standard error; never a patient's name."""

    format: Literal["plain", "json"] = "plain"
    """Lines for a person, or one JSON object a line for a log collector."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is worth a line."""


class Peer(Section):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    """What the status page and the log call it."""
    ae_title: AeTitle
    """Its AE title."""
    host: Host
    """Its address."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Its DICOM port."""
    tls: bool = False
    """Speak TLS with it, with the certificates of [dicom.tls]."""
    tls_name: Annotated[str, Field(max_length=255)] = ""
    """The name its certificate is made out to; not given, it is host."""


class DestinationSettings(Peer):
    """Where results go; several allowed."""

    objects: Annotated[tuple[ObjectKind, ...], Field(min_length=1)] = ("seg", "sr")
    """Which result objects it can show: segmentation, structured report, presentation state,
    secondary capture, key object selection, spatial registration of the prior. Once sc is among those of any
    destination, its pictures take the place of a seg, sr or pr that a destination does not take."""
    confirm: bool = False
    """Ask for storage commitment."""
    timeout_seconds: Seconds = 60
    """How long to wait for it to be reached, and for its answer to each object; what is not answered by then
    is sent again."""
    retry_seconds: Seconds = 30
    """How long to wait after a failed attempt; doubles with each, up to an hour."""


class ArchiveSettings(Peer):
    """Where priors are found (C-FIND) and fetched (C-MOVE or C-GET); several allowed."""

    retrieve: Literal["auto", "get", "move"] = "auto"
    """How images are fetched: by C-GET; by C-MOVE to this node, which the archive has to know; auto takes
    C-GET where the archive offers it."""


class PriorsSettings(Section):
    """Which earlier studies of the patient a study is compared with."""

    enabled: bool = True
    """Compare at all."""
    at_most: Annotated[int, Field(ge=1, le=20), BeforeValidator(not_true)] = 3
    """How many earlier studies, the newest first; of the same day as many beside them."""
    oldest_days: Annotated[int, Field(ge=1, le=MOST_DAYS), BeforeValidator(not_true)] = 1826
    """How long before the study they may have been made."""
    same_body_part: bool = True
    """Leave out series of another part of the body, where both name theirs."""
    time_limit_seconds: Seconds = 120
    """How long archives may take in all; a study is delivered without comparison after that."""
    retry_seconds: Seconds = 60
    """How long to wait before an archive that gave no answer is asked again; doubles with each attempt, up
    to an hour."""
    retry_days: Days = 7
    """How long it is asked again; 0 is never."""
    merged: tuple[tuple[str, ...], ...] = ()
    """Patient IDs that belong to one person, such as [["4711", "OLD-12"]]."""

    def ids_of(self, patient_id: str) -> tuple[str, ...]:
        """The patient's IDs, the given one first."""
        also = (other for group in self.merged if patient_id in group for other in group)
        return tuple(dict.fromkeys((patient_id, *also)))


class RouteSettings(Section):
    """Which reader reads which series; the first match wins per reader."""

    reader: ReaderName
    """Who reads what matches."""
    match: Annotated[dict[Keyword, Pattern], Field(min_length=1)]
    """DICOM keyword to a value, a list of values, or "~regular expression" (case-insensitive)."""
    priority: Literal["routine", "stat"] = "routine"
    """A stat reading overtakes routine ones."""


class AuditSettings(Section):
    """Who sent, saw and did what."""

    keep_days: Annotated[int, Field(ge=1, le=MOST_DAYS), BeforeValidator(not_true)] = 365
    """How long that is remembered."""


class Settings(Section):
    """Everything an administrator can set. Every key has a default."""

    node: NodeSettings = NodeSettings()
    dicom: DicomSettings = DicomSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    engine: EngineSettings = EngineSettings()
    pixels: PixelsSettings = PixelsSettings()
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    archives: tuple[ArchiveSettings, ...] = ()
    priors: PriorsSettings = PriorsSettings()
    results: ResultsSettings = ResultsSettings()
    routes: tuple[RouteSettings, ...] = ()

    @property
    def deliverable(self) -> dict[str, frozenset[str]]:
        """The kinds of result objects that are set for each destination, by its name."""
        return {destination.name: frozenset(destination.objects) for destination in self.destinations}

    @field_validator("database")
    @classmethod
    def _beside_the_data(cls, database: DatabaseSettings, info: ValidationInfo) -> DatabaseSettings:
        url = database.url
        if not url and database.url_file:
            url = _read_url(database.url_file)
        if url.startswith("postgresql") and not re.fullmatch(POSTGRESQL_URL, url):
            raise ValueError(
                f"{'url' if database.url else 'url_file'} cannot be taken apart into user, password, host, "
                "port and name; %40 stands for @, %25 for %, %20 for a blank"
            )
        if not url and "node" in info.data:
            url = f"sqlite:///{info.data['node'].data_dir / 'overread.db'}"
        if info.context and url.startswith("sqlite:///"):
            url = f"sqlite:///{info.context['folder'] / url.removeprefix('sqlite:///')}"
        return database.model_copy(update={"url": url})

    @field_validator("destinations", "archives")
    @classmethod
    def _distinct(cls, peers: tuple[Peer, ...], info: ValidationInfo) -> tuple[Peer, ...]:
        names = [peer.name for peer in peers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two are named {twice[0]!r}; give each its own name")
        for peer in peers:
            if "dicom" in info.data and _is_ourselves(peer, info.data["dicom"]):
                raise ValueError(
                    f"{peer.name!r} at {peer.host}:{peer.port} is this node itself (dicom.host and "
                    "dicom.port); give the address of the PACS"
                )
            if peer.tls and "dicom" in info.data and not info.data["dicom"].tls.is_complete:
                raise ValueError(
                    f"{peer.name!r} is to be spoken to over TLS, which needs certificate, private_key and "
                    "authorities in [dicom.tls]"
                )
        return peers

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.dicom.port and self.dicom.port == self.web.port and self.dicom.host == self.web.host:
            raise ValueError(f"web.port and dicom.port are both {self.web.port}; give each its own")
        return self


def _read_url(path: Path) -> str:
    try:
        url = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"url_file {path} is not a text file in UTF-8") from None
    except OSError as error:
        raise ValueError(f"url_file {path} cannot be read: {error.strerror}") from None
    if not re.fullmatch(DATABASE_URL, url):
        raise ValueError(f"url_file {path} holds no URL such as postgresql+psycopg://user@host/name")
    return url


def _is_ourselves(peer: Peer, dicom: DicomSettings) -> bool:
    if peer.port != dicom.port:
        return False
    if peer.host.lower() == dicom.host.lower():
        return True
    listens = _loopback(dicom.host) or dicom.host in ("0.0.0.0", "::")
    return listens and (_loopback(peer.host) or peer.host.lower() == socket.gethostname().lower())


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
