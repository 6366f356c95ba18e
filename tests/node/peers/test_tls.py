"""Peers that are spoken to over TLS: DCMTK's storescp as a destination, Orthanc as an archive."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from node.peers.archive import ArchiveAnswerError, DicomArchive, FetchedObject
from node.peers.sending import DeliveryError, DicomDestination
from node.security.tls import Files, Identity
from node.settings import ArchiveSettings, Peer
from tests.certificates import Authority, Pair
from tests.node.intake.senders import ct_series
from tests.orthanc import Orthanc, free_port
from tests.programs import require


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pacs_pair(authority: Authority) -> Pair:
    return authority.issue("pacs")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    paths = [folder / f"{number}.dcm" for number in range(3)]
    for path, image in zip(paths, ct_series(3, size=256), strict=True):
        image.save_as(path, enforce_file_format=True)
    return paths


def known_by(authority: Authority, name: str = "overread") -> Identity:
    pair = authority.issue(name)
    return Identity(Files(pair.certificate, pair.private_key, authorities=authority.certificate))


@contextmanager
def storescp(folder: Path, pair: Pair, authority: Authority) -> Iterator[int]:
    port = free_port()
    secure = ["+tls", str(pair.private_key), str(pair.certificate), "+cf", str(authority.certificate)]
    command = [str(require("storescp")), *secure, "-od", str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(port)
            yield port
        finally:
            process.kill()


def _await(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


@pytest.mark.needs("storescp")
def test_results_go_to_dcmtk_over_tls_and_only_to_a_name_we_know(
    authority: Authority, pacs_pair: Pair, files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path, pacs_pair, authority) as port:
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=True)
        receipts = list(DicomDestination(peer, "OVERREAD", 10, known_by(authority)).send(files))
        assert [receipt.outcome for receipt in receipts] == ["sent"] * 3
        kept = {path.name.partition(".")[2]: path for path in tmp_path.iterdir()}
        assert set(kept) == {str(dcmread(path).SOPInstanceUID) for path in files}
        other = peer.model_copy(update={"tls_name": "other.example"})
        with pytest.raises(DeliveryError, match=r"over TLS: its certificate is not accepted.*other\.example"):
            DicomDestination(other, "OVERREAD", 10, known_by(authority)).echo()


@pytest.mark.needs("storescp")
def test_a_peer_without_tls_or_that_does_not_know_us_is_named(
    authority: Authority, pacs_pair: Pair, tmp_path: Path
) -> None:
    strangers = Authority(tmp_path, "Strangers")
    with storescp(tmp_path, pacs_pair, authority) as port:
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=True)
        pair = strangers.issue("overread")
        unknown = Identity(Files(pair.certificate, pair.private_key, authorities=authority.certificate))
        with pytest.raises(DeliveryError, match="accept this node's certificate"):
            DicomDestination(peer, "OVERREAD", 10, unknown).echo()
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=True)
        with pytest.raises(DeliveryError, match="did not finish the TLS handshake in time"):
            DicomDestination(peer, "OVERREAD", 1, known_by(authority)).echo()


@pytest.mark.needs("Orthanc")
def test_an_archive_is_asked_and_fetched_from_over_tls(
    authority: Authority, pacs_pair: Pair, files: list[Path], tmp_path: Path
) -> None:
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(pacs_pair.certificate),
        "DicomTlsPrivateKey": str(pacs_pair.private_key),
        "DicomTlsTrustedCertificates": str(authority.certificate),
    }
    orthanc = Orthanc(tmp_path / "orthanc", options=options)
    orthanc.start()
    try:
        for path in files:
            orthanc.upload(path)
        header = dcmread(files[0])
        peer = ArchiveSettings(
            name="pacs",
            ae_title=orthanc.ae_title,
            host="127.0.0.1",
            port=orthanc.dicom_port,
            retrieve="get",
            tls=True,
        )
        archive = DicomArchive(peer, "OVERREAD", known_by(authority))
        keys = Dataset()
        keys.PatientID, keys.StudyInstanceUID = header.PatientID, ""
        assert [answer.StudyInstanceUID for answer in archive.find("STUDY", keys, 30)] == [
            header.StudyInstanceUID
        ]
        taken: list[FetchedObject] = []
        archive.fetch(
            header.StudyInstanceUID, [header.SeriesInstanceUID], lambda one: taken.append(one) or 0, 30
        )
        assert len(taken) == 3
        stranger = DicomArchive(peer, "OVERREAD", known_by(Authority(tmp_path, "Strangers")))
        with pytest.raises(ArchiveAnswerError, match="over TLS: its certificate is not accepted"):
            stranger.find("STUDY", keys, 30)
    finally:
        orthanc.stop()
