"""Who may come in, and the certificates that both sides show."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from node.security.tls import Files
from node.settings.fields import (
    AE_TITLE,
    Certificate,
    Folder,
    Place,
    Seconds,
    Section,
    limits,
)


class AllowedCaller(Section):
    """A sender that may come in; without a certificate it is written as ``CT1@10.0.0.5``."""

    model_config = ConfigDict(
        json_schema_extra=limits(
            'an AE title or "*", optionally with an address, "CT1@10.0.0.5", or a table of ae_title, '
            "address, certificate"
        )
    )

    ae_title: Annotated[
        str, Field(pattern=rf"^(\*|{AE_TITLE})$", json_schema_extra=limits('an AE title or "*"'))
    ] = "*"
    """What it calls itself."""
    address: Place = ""
    """Where it has to call from; not given, from anywhere."""
    certificate: Certificate = ""
    """What its certificate has to say."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not re.fullmatch(rf"(\*|{AE_TITLE})(@[^@\s]+)?", given):
            raise PydanticCustomError("caller", "no caller")
        ae_title, _, address = given.partition("@")
        return {"ae_title": ae_title, "address": address}

    @property
    def text(self) -> str | None:
        """Without a certificate, the one text that says it."""
        if self.certificate:
            return None
        return f"{self.ae_title}@{self.address}" if self.address else self.ae_title


class DicomTlsSettings(Section):
    """DICOM over TLS 1.2 or newer with certificates on both sides (PS3.15 B.12, BCP 195), in PEM files that
    are read anew whenever they change."""

    enabled: bool = False
    """Speak TLS on dicom.port, and nothing else."""
    certificate: Folder | None = None
    """This node's certificate, followed by those that lead up to its authority."""
    private_key: Folder | None = None
    """The key that goes with it."""
    private_key_password_file: Folder | None = None
    """A file that holds the key's password and nothing else, if it has one."""
    authorities: Folder | None = None
    """Who has to have issued a peer's certificate; a peer's own certificate does as well."""
    revoked: Folder | None = None
    """Revocation lists, one of each authority."""
    handshake_seconds: Seconds = 10
    """How long a peer may take to introduce itself."""

    @property
    def is_complete(self) -> bool:
        return None not in (self.certificate, self.private_key, self.authorities)

    @property
    def files(self) -> Files | None:
        """What this node shows its DICOM peers, and whom it trusts; None where no certificate is set."""
        if self.certificate is None or self.private_key is None:
            return None
        return Files(
            self.certificate,
            self.private_key,
            self.private_key_password_file,
            self.authorities,
            self.revoked,
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled and not self.is_complete:
            raise ValueError("certificate, private_key and authorities are all needed where TLS is enabled")
        return self


class WebTlsSettings(Section):
    """HTTPS for the status page, from PEM files that are read anew whenever they change."""

    certificate: Folder | None = None
    """The page's certificate, followed by those that lead up to its authority; with it, only HTTPS is
    spoken."""
    private_key: Folder | None = None
    """The key that goes with it."""
    private_key_password_file: Folder | None = None
    """A file that holds the key's password and nothing else, if it has one."""

    @property
    def files(self) -> Files | None:
        """What the page shows browsers; None where it speaks no TLS."""
        if self.certificate is None or self.private_key is None:
            return None
        return Files(self.certificate, self.private_key, self.private_key_password_file)

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are needed together")
        return self
