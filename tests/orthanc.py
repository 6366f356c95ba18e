"""A private Orthanc: the PACS the tests query, send to and fetch from."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pydicom

from tests.programs import require

DESCRIPTION = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "Modality",
    "SeriesDescription",
    "InstanceNumber",
)
PATIENCE = 60  # seconds for an answer


def _ports() -> Iterator[int]:
    """Those of this worker alone, in any order, and below those that the system gives to who asks for none:
    what nobody listens on now nobody takes before it is listened on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    first = 20_000 + 3_000 * worker
    return cycle(random.sample(range(first, first + 3_000), 3_000))


_PORTS = _ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens, and that nobody else is given meanwhile."""
    while True:
        port = next(_PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@dataclass
class Orthanc:
    """One Orthanc process with its own folder and ports. It accepts and answers any caller.

    ``start`` and ``stop`` may be called in turn (an outage): ports and contents stay.
    """

    folder: Path
    ae_title: str = "ORTHANC"
    host: str = "127.0.0.1"
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    options: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"

    def start(self) -> None:
        program, plugin = require("Orthanc"), require("orthanc-dicomweb")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings(plugin), indent=2))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_english(),
            )
        self._await_answer()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # its own way out takes seconds; the index survives this one
            self._process.wait()
            self._process = None

    @property
    def log(self) -> Path:
        return self.folder / "orthanc.log"

    def introduce(self, ae_title: str, port: int, host: str = "127.0.0.1") -> None:
        """Tell Orthanc where ``ae_title`` listens, so that it can send there (C-MOVE)."""
        self._put(f"/modalities/{ae_title}", {"AET": ae_title, "Host": host, "Port": port})

    def instances(self, **tags: str) -> list[dict[str, str]]:
        """ID in Orthanc and ``DESCRIPTION`` of each instance that matches, e.g. ``Modality="SEG"``."""
        query = {"Level": "Instance", "Query": tags, "Expand": True}
        found = httpx.post(f"{self.url}/tools/find", json=query, timeout=PATIENCE).raise_for_status().json()
        return [self._described(instance) for instance in found]

    def dataset(self, orthanc_id: str) -> pydicom.Dataset:
        """A stored instance as Orthanc gives it back."""
        answer = httpx.get(f"{self.url}/instances/{orthanc_id}/file", timeout=PATIENCE).raise_for_status()
        return pydicom.dcmread(BytesIO(answer.content))

    def datasets(self, **tags: str) -> list[pydicom.Dataset]:
        return [self.dataset(instance["ID"]) for instance in self.instances(**tags)]

    def upload(self, path: Path) -> None:
        httpx.post(f"{self.url}/instances", content=path.read_bytes(), timeout=PATIENCE).raise_for_status()

    def delete_studies(self) -> None:
        for study in httpx.get(f"{self.url}/studies", timeout=PATIENCE).raise_for_status().json():
            httpx.delete(f"{self.url}/studies/{study}", timeout=PATIENCE).raise_for_status()

    def _described(self, instance: dict[str, Any]) -> dict[str, str]:
        address = f"{self.url}/instances/{instance['ID']}/simplified-tags"
        tags = httpx.get(address, timeout=PATIENCE).raise_for_status().json()
        return {"ID": instance["ID"], **{word: tags.get(word, "") for word in DESCRIPTION}}

    def _put(self, path: str, body: Any) -> None:
        httpx.put(f"{self.url}{path}", json=body, timeout=PATIENCE).raise_for_status()

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                httpx.get(f"{self.url}/system").raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Orthanc did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def _settings(self, plugin: Path) -> dict[str, Any]:
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "StorageCompression": False,
            "SyncStorageArea": False,
            "Plugins": [str(plugin)],
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomCheckModalityHost": False,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "StudiesMetadata": "Full",
                "SeriesMetadata": "Full",
            },
            **self.options,
        }


def _english() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"}
