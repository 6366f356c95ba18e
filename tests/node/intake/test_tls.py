"""Who is let in over TLS, who is not, and what is written down of those; by our sender and by DCMTK's."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from typer.testing import CliRunner

from node.cli import app
from node.intake.receiver import Receiver
from node.peers.sending import DeliveryError, DicomDestination
from node.security.tls import Files, Identity, TlsError, identity_of
from node.settings import DicomSettings, Peer
from node.settings.security import DicomTlsSettings
from storage.archive import Archive
from storage.audit import AuditEntry, AuditFilter, newest
from storage.database import Database
from storage.tables import Refusal
from tests.certificates import Authority, Pair
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ASSOCIATE_AC, RawSender, store_pdus
from tests.node.intake.senders import ct_series, encoded
from tests.programs import require

StartSecure = Callable[..., Intake]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def scanner(authority: Authority) -> Pair:
    return authority.issue("ct1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    return [_saved(image, folder / f"{i}.dcm") for i, image in enumerate(ct_series(3, size=128))]


def _saved(image: Dataset, path: Path) -> Path:
    image.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def start_secure(
    tmp_path: Path, authority: Authority, open_database: Callable[[], Database], transport: str
) -> Iterator[StartSecure]:
    """``start_secure(**dicom settings)``: a receiver that speaks TLS; stopped when the test ends."""
    node = authority.issue("node")
    receivers: list[Receiver] = []

    def start(tls: dict[str, Any] | None = None, **settings: Any) -> Intake:
        chosen = DicomSettings(
            **{"port": 0, "minimum_free_mb": 0, "durable": False, "network_timeout": 20, **settings},
            transport=transport,
            tls=DicomTlsSettings(
                **{
                    "enabled": True,
                    "certificate": node.certificate,
                    "private_key": node.private_key,
                    "authorities": authority.certificate,
                    **(tls or {}),
                }
            ),
        )
        database, archive = open_database(), Archive(tmp_path / "data", durable=False)
        receiver = Receiver(chosen, "OVERREAD", archive, database, identity_of(chosen.tls.files))
        receivers.append(receiver)
        return Intake(receiver, archive, database, receiver.start())

    yield start
    for receiver in receivers:
        receiver.stop()


def storescu(port: int, pair: Pair | None, authority: Authority, files: list[Path]) -> int:
    """DCMTK's sender; returns its exit status."""
    secure = (
        ["+tls", str(pair.private_key), str(pair.certificate), "+cf", str(authority.certificate)]
        if pair
        else ["+tla", "-ic"]
    )
    command = [str(require("storescu")), *secure, "-aet", "CT1", "-aec", "OVERREAD", "127.0.0.1", str(port)]
    return subprocess.run([*command, *map(str, files)], capture_output=True, timeout=60).returncode


def sender(port: int, pair: Pair, authority: Authority, **peer: Any) -> DicomDestination:
    identity = Identity(Files(pair.certificate, pair.private_key, authorities=authority.certificate))
    there = {"name": "node", "ae_title": "OVERREAD", "host": "127.0.0.1", "port": port, "tls": True, **peer}
    return DicomDestination(Peer(**there), "CT1", timeout=10, identity=identity)


def refusal_by(intake: Intake, words: str = "") -> Refusal:
    """The one refusal with these words, which is written a moment after the peer has been told."""
    until = time.monotonic() + 20
    while not (refusals := [r for r in intake.refusals() if words in r.reason]) and time.monotonic() < until:
        time.sleep(0.05)
    (refusal,) = refusals
    return refusal


def trail(intake: Intake) -> list[AuditEntry]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        intake.receiver.settle()
        with intake.database.snapshot() as session:
            if entries := newest(session, AuditFilter()):
                return list(entries)
        time.sleep(0.05)
    return []


@pytest.mark.needs("storescu")
def test_dcmtks_sender_with_a_certificate_is_let_in_and_named(
    start_secure: StartSecure, authority: Authority, scanner: Pair, files: list[Path]
) -> None:
    intake = start_secure()
    assert storescu(intake.port, scanner, authority, files) == 0
    assert len(intake.instances()) == 3
    (entry,) = trail(intake)
    assert (entry.kind, entry.who, entry.address) == ("received", "CT1 (O=Hospital,CN=ct1)", "127.0.0.1")
    assert entry.text == "sent 3 objects"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_objects_come_in_unchanged_over_either_version(
    start_secure: StartSecure, authority: Authority, scanner: Pair, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    intake = start_secure()
    destination = sender(intake.port, scanner, authority)
    assert destination.identity is not None
    destination.identity.calling().maximum_version = version
    images = ct_series(2, size=1100)
    paths = [_saved(image, tmp_path / f"{i}.dcm") for i, image in enumerate(images)]
    assert [receipt.outcome for receipt in destination.send(paths)] == ["sent", "sent"]
    kept = {row.uid: intake.archive.path(row.path).read_bytes() for row in intake.instances()}
    assert all(kept[image.SOPInstanceUID].endswith(encoded(image)) for image in images)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("expired", "certificate has expired"),
        ("unknown", "unable to get local issuer certificate"),
        ("revoked", "certificate revoked"),
    ],
)
def test_a_bad_certificate_is_refused_and_recorded_with_its_reason(
    start_secure: StartSecure,
    authority: Authority,
    scanner: Pair,
    files: list[Path],
    tmp_path: Path,
    kind: str,
    said: str,
) -> None:
    bad = {
        "expired": lambda: authority.issue("old", days=-1),
        "unknown": lambda: Authority(tmp_path, "Nobody").issue("ct1"),
        "revoked": lambda: authority.issue("lost"),
    }[kind]()
    intake = start_secure({"revoked": authority.revoke(bad)} if kind == "revoked" else {})
    receipts = list(sender(intake.port, bad, authority).send(files))
    assert {receipt.outcome for receipt in receipts} == {"failed"}
    assert "does not accept this node's certificate" in receipts[0].reason
    refusal = refusal_by(intake)
    assert said in refusal.reason
    assert refusal.address == "127.0.0.1"
    assert [(entry.kind, entry.who) for entry in trail(intake)] == [("turned-away", "unknown")]
    assert [r.outcome for r in sender(intake.port, scanner, authority).send(files)] == ["sent"] * 3


@pytest.mark.needs("storescu")
def test_dcmtk_without_a_certificate_or_without_tls_is_refused(
    start_secure: StartSecure, authority: Authority, files: list[Path], tmp_path: Path
) -> None:
    intake = start_secure()
    assert storescu(intake.port, None, authority, files) != 0
    assert "shows no certificate" in refusal_by(intake).reason
    plain = DicomDestination(Peer(name="node", ae_title="X", host="127.0.0.1", port=intake.port), "CT1", 5)
    with pytest.raises(DeliveryError, match="and without TLS"):
        plain.echo()
    assert intake.instances() == []


def test_a_receiver_we_do_not_trust_gets_nothing(
    start_secure: StartSecure, authority: Authority, scanner: Pair, files: list[Path], tmp_path: Path
) -> None:
    intake = start_secure()
    strangers = Authority(tmp_path, "Other CA")
    with pytest.raises(
        DeliveryError, match="certificate is not accepted: self-signed certificate in certificate chain"
    ):
        sender(intake.port, scanner, strangers).echo()
    with pytest.raises(DeliveryError, match=r"certificate is not accepted.*pacs\.example"):
        sender(intake.port, scanner, authority, tls_name="pacs.example").echo()
    sender(intake.port, scanner, authority, tls_name="localhost").echo()
    for word in ("unknown ca", "bad certificate"):
        refusal_by(intake, f"does not accept this node's certificate or ciphers ({word})")


@pytest.mark.parametrize("wanted", ["CN=ct1", "CN=ct1, O=Hospital", "fingerprint"])
def test_a_caller_is_held_to_its_own_certificate(
    start_secure: StartSecure, authority: Authority, scanner: Pair, wanted: str
) -> None:
    certificate = f"SHA256:{scanner.fingerprint.upper()}" if wanted == "fingerprint" else wanted
    intake = start_secure(allowed_callers=({"ae_title": "CT1", "certificate": certificate},))
    sender(intake.port, scanner, authority).echo()
    with pytest.raises(DeliveryError, match="rejects the association"):
        sender(intake.port, authority.issue("ct2"), authority).echo()
    refusal = refusal_by(intake)
    assert "CT1@127.0.0.1 (O=Hospital,CN=ct2) is not among dicom.allowed_callers" in refusal.reason


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_weak_ciphers_are_not_spoken(start_secure: StartSecure, scanner: Pair) -> None:
    intake = start_secure()
    for weaken in (
        lambda context: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_1),
        lambda context: (
            setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2),
            context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"),
        ),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(scanner.certificate, scanner.private_key)
        weaken(context)
        with socket.create_connection(("127.0.0.1", intake.port), 10) as connection, pytest.raises(OSError):
            context.wrap_socket(connection)
    sound = ssl.create_default_context()
    sound.check_hostname, sound.verify_mode = False, ssl.CERT_NONE
    sound.load_cert_chain(scanner.certificate, scanner.private_key)
    with socket.create_connection(("127.0.0.1", intake.port), 10) as connection:
        assert sound.wrap_socket(connection).version() == "TLSv1.3"


def test_who_shakes_no_hands_holds_up_nobody_and_is_recorded(
    start_secure: StartSecure, authority: Authority, scanner: Pair, files: list[Path]
) -> None:
    intake = start_secure({"handshake_seconds": 4})
    with ExitStack() as stack:
        silent = [stack.enter_context(RawSender(intake.port)) for _ in range(60)]
        assert [r.outcome for r in sender(intake.port, scanner, authority).send(files)] == ["sent"] * 3
        assert [one.receive()[0] for one in silent] == [0] * 60
    refusal = refusal_by(intake)
    assert "did not finish the TLS handshake in time" in refusal.reason


def raw_sender(port: int, pair: Pair) -> RawSender:
    """One that shows its certificate and believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pair.certificate, pair.private_key)
    raw = RawSender(port)
    raw.socket = context.wrap_socket(raw.socket)
    return raw


def test_a_peer_that_drips_beneath_tls_is_cut_off_at_the_deadline(
    start_secure: StartSecure, scanner: Pair
) -> None:
    intake = start_secure(network_timeout=4)
    image = ct_series(1)[0]
    with raw_sender(intake.port, scanner) as dripping:
        dripping.associate()
        sent = 0
        for byte in store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage)[:2000]:
            try:
                dripping.socket.sendall(bytes([byte]))
            except OSError:
                break
            sent += 1
            time.sleep(0.05)
    assert sent < 2000
    assert intake.instances() == []
    assert intake.files(intake.archive.incoming) == []


def test_new_certificates_are_taken_up_while_associations_go_on(
    start_secure: StartSecure, authority: Authority, scanner: Pair, tmp_path: Path
) -> None:
    own = Authority(tmp_path, "Own CA").issue("node")
    intake = start_secure({"certificate": own.certificate, "private_key": own.private_key})
    first, second = ct_series(2)
    with raw_sender(intake.port, scanner) as going_on:
        going_on.associate()
        assert going_on.store(encoded(first), first.SOPInstanceUID) == 0x0000
        _renew(intake, own, authority, scanner)
        assert going_on.store(encoded(second), second.SOPInstanceUID) == 0x0000
    assert len(intake.instances()) == 2


def _renew(intake: Intake, own: Pair, authority: Authority, scanner: Pair) -> None:
    with pytest.raises(DeliveryError, match="not accepted"):
        sender(intake.port, scanner, authority).echo()
    new = authority.issue("renewed")
    own.certificate.write_bytes(new.certificate.read_bytes())  # for a moment they do not fit together
    with pytest.raises(DeliveryError, match="not accepted"):
        sender(intake.port, scanner, authority).echo()
    own.private_key.write_bytes(new.private_key.read_bytes())
    sender(intake.port, scanner, authority).echo()


def test_files_that_cannot_be_used_are_named_when_the_node_starts(
    authority: Authority, scanner: Pair, tmp_path: Path
) -> None:
    other = authority.issue("other")
    absent = tmp_path / "absent.pem"
    locked = authority.issue("locked", password="secret")
    (tmp_path / "nonsense.pem").write_text("no certificate")
    for files, said in (
        (Files(absent, scanner.private_key), "absent.pem does not exist"),
        (Files(scanner.certificate, other.private_key), "no certificate and its key"),
        (Files(locked.certificate, locked.private_key), "wants another password"),
        (Files(scanner.certificate, scanner.private_key, authorities=absent), "absent.pem does not exist"),
        (
            Files(scanner.certificate, scanner.private_key, authorities=tmp_path / "nonsense.pem"),
            "holds no certificate",
        ),
    ):
        with pytest.raises(TlsError, match=said):
            Identity(files)
    (tmp_path / "password").write_text("secret\n")
    assert Identity(Files(locked.certificate, locked.private_key, tmp_path / "password")).valid_until()


def test_a_certificate_that_has_ended_says_so(authority: Authority) -> None:
    old = authority.issue("ended", days=-1)
    with pytest.raises(TlsError, match="certificate has expired"):
        Identity(Files(old.certificate, old.private_key)).valid_until()


def test_a_stop_ends_associations_over_tls(
    start_secure: StartSecure, authority: Authority, scanner: Pair
) -> None:
    intake = start_secure()
    with RawSender(intake.port) as idle:
        context = Identity(
            Files(scanner.certificate, scanner.private_key, authorities=authority.certificate)
        ).calling()
        idle.socket = context.wrap_socket(idle.socket, server_hostname="127.0.0.1")
        assert idle.associate() == ASSOCIATE_AC
        intake.receiver.stop()
        assert idle.receive()[0] in (7, 0)


@pytest.mark.usefixtures("configured_database")
def test_what_was_set_aside_goes_to_a_node_whose_certificate_is_made_out_to_a_name(
    start_secure: StartSecure, authority: Authority, files: list[Path], tmp_path: Path
) -> None:
    named = authority.issue("named", hosts=("reads.hospital",))
    intake = start_secure({"certificate": named.certificate, "private_key": named.private_key})
    place = intake.archive.set_aside / "2026-01-01" / "1.dcm"
    place.parent.mkdir()
    place.write_bytes(files[0].read_bytes())
    config = tmp_path / "overread.toml"
    config.write_text(
        f'[node]\ndata_dir = "data"\n[dicom]\nport = {intake.port}\n[dicom.tls]\nenabled = true\n'
        f'certificate = "{named.certificate}"\nprivate_key = "{named.private_key}"\n'
        f'authorities = "{authority.certificate}"\n'
    )
    again = ["set-aside", "--again", "--config", str(config)]
    assert "127.0.0.1" in CliRunner().invoke(app, again).stderr
    assert place.exists()
    taken = CliRunner().invoke(app, [*again, "--tls-name", "reads.hospital"])
    assert "Taken in: 1 of 1" in taken.output, taken.stderr
    assert len(intake.instances()) == 1
    assert not place.exists()
