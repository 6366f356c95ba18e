"""README's recipe for Orthanc: it sends what is new of a study, once, and never the node's own results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, EnhancedSRStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt

from tests.node.intake.senders import ct_series, ct_slice, send
from tests.orthanc import PATIENCE, Orthanc
from tests.waiting import wait_for

README = Path(__file__).parents[1] / "README.md"

pytestmark = pytest.mark.needs("Orthanc")


def block(language: str) -> str:
    """The recipe's code in one language."""
    recipe = README.read_text().split("**Orthanc**")[1]
    found = re.search(rf"```{language}\n(.*?)```", recipe, re.DOTALL)
    assert found
    return found[1]


class Receiver:
    """Stands where the node would: takes what comes, and remembers in which order."""

    def __init__(self) -> None:
        self.received: list[str] = []
        entity = AE("OVERREAD")
        for sop_class in (CTImageStorage, EnhancedSRStorage):
            entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def _store(self, event: evt.Event) -> int:
        self.received.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    def stop(self) -> None:
        self._server.shutdown()


@pytest.fixture
def node() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def pacs(tmp_path: Path, node: Receiver) -> Iterator[Orthanc]:
    """An Orthanc that is set up as the README says, but that here a study is stable after a few
    seconds."""
    options: dict[str, Any] = json.loads(f"{{{block('json')}}}")
    options["DicomModalities"]["overread"] |= {"Host": "127.0.0.1", "Port": node.port}
    orthanc = Orthanc(tmp_path / "orthanc", options={**options, "StableAge": 3})
    orthanc.folder.mkdir()
    (orthanc.folder / options["LuaScripts"][0]).write_text(block("lua"))
    orthanc.start()
    yield orthanc
    orthanc.stop()


def delete(pacs: Orthanc, image_uid: str) -> None:
    found = httpx.post(f"{pacs.url}/tools/lookup", content=image_uid, timeout=PATIENCE).json()
    httpx.delete(f"{pacs.url}/instances/{found[0]['ID']}", timeout=PATIENCE).raise_for_status()


def report(study_uid: str) -> Dataset:
    result = ct_slice(study_uid)
    result.SOPClassUID, result.Modality = EnhancedSRStorage, "SR"
    del result.PixelData
    return result


def test_what_is_new_of_a_study_is_sent_once_and_results_are_not_sent_back(
    pacs: Orthanc, node: Receiver
) -> None:
    study = generate_uid()
    images = ct_series(3, study)
    first = {image.SOPInstanceUID for image in images}
    assert send(pacs.dicom_port, images) == [0, 0, 0]
    wait_for(lambda: set(node.received) == first)

    late = ct_slice(study)
    assert send(pacs.dicom_port, [report(study)], caller="OVERREAD") == [0]
    assert send(pacs.dicom_port, [late]) == [0]
    wait_for(lambda: late.SOPInstanceUID in node.received)

    assert sorted(node.received) == sorted([*first, late.SOPInstanceUID])
    jobs = httpx.get(f"{pacs.url}/jobs?expand", timeout=PATIENCE).json()  # those that are still to run, too
    assert sum(job["Content"]["InstancesCount"] for job in jobs) == len(node.received)


def test_what_is_deleted_before_its_study_is_stable_keeps_back_nothing_else(
    pacs: Orthanc, node: Receiver
) -> None:
    deleted, *images = ct_series(3, generate_uid())
    assert send(pacs.dicom_port, [deleted, *images]) == [0, 0, 0]
    delete(pacs, deleted.SOPInstanceUID)
    wait_for(lambda: set(node.received) >= {image.SOPInstanceUID for image in images})
