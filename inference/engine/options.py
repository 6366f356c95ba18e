"""How to talk to Triton; ``[engine.triton]`` in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class TritonOptions:
    """Every call to every server goes by these.

    timeout_seconds: for one answer.
    wait_seconds: for a server that can take the call, before the call is given up.
    shared_memory: "auto" for servers on this host; "on" also for servers that share this host's IPC
        namespace under another name; "off" for none.
    headers_file: lines such as ``authorization: Bearer ...``, sent with every call.
    tls: encrypt. root_certificates verify the server; private_key and certificate_chain identify the node
        (PEM files).
    """

    timeout_seconds: float = 120.0
    wait_seconds: float = 300.0
    shared_memory: Literal["auto", "on", "off"] = "auto"
    headers_file: Path | None = None
    tls: bool = False
    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None
