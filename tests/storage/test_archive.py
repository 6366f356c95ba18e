from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage.archive import (
    Archive,
    ArchiveError,
    ContentConflictError,
    Kept,
    UnsafeUidError,
    is_received_into,
)
from storage.part10 import decode_head, encode_head

HEAD = encode_head("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "CT1")


def keep(
    archive: Archive, data: bytes, uid: str = "1.2.3", study_uid: str = "1.9", source: str = "CT1"
) -> Kept:
    incoming = archive.receive()
    incoming.write(encode_head("1.2", uid, "1.2.840.10008.1.2.1", source) + data)
    try:
        return archive.keep(incoming, study_uid, uid)
    except (ContentConflictError, UnsafeUidError):
        incoming.discard()
        raise


@pytest.fixture(params=[True, False], ids=["durable", "not durable"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data", durable=request.param)


def test_what_is_kept_is_found_under_its_path(archive: Archive) -> None:
    kept = keep(archive, b"pixels")
    assert archive.path(kept.path).read_bytes().endswith(b"pixels")
    assert kept.path == archive.image_path("1.9", "1.2.3")
    assert kept.size == archive.path(kept.path).stat().st_size
    assert archive.relative(archive.path(kept.path)) == kept.path


def test_the_same_again_is_not_new_whoever_sends_it(archive: Archive) -> None:
    assert keep(archive, b"pixels").is_new
    assert not keep(archive, b"pixels", source="ANOTHER_SENDER").is_new


@pytest.mark.parametrize("place", [0, 1 << 20, (3 << 20) - 1])
def test_large_objects_are_compared_to_their_last_byte(archive: Archive, place: int) -> None:
    pixels = bytearray(3 << 20)
    keep(archive, bytes(pixels))
    assert not keep(archive, bytes(pixels), source="ANOTHER_SENDER").is_new
    pixels[place] = 1
    with pytest.raises(ContentConflictError):
        keep(archive, bytes(pixels))


@pytest.mark.parametrize("other", [b"pixelz", b"pixels longer", b""])
def test_other_content_under_one_uid_does_not_replace_the_first(archive: Archive, other: bytes) -> None:
    kept = keep(archive, b"pixels")
    with pytest.raises(ContentConflictError):
        keep(archive, other)
    assert archive.path(kept.path).read_bytes().endswith(b"pixels")


@pytest.mark.parametrize("uid", ["../x", "/x", "", ".", "..", "1..2", "1.2/3", "1.2\n", "1.a", "1" * 65])
def test_only_a_uid_becomes_a_path(archive: Archive, uid: str) -> None:
    for make in (
        lambda: archive.image_path("1.9", uid),
        lambda: archive.image_path(uid, "1.2.3"),
        lambda: archive.results_folder(uid, 1),
    ):
        with pytest.raises(UnsafeUidError):
            make()


def test_folders_stay_flat_with_many_studies(archive: Archive) -> None:
    for number in range(500):
        archive.results_folder(f"1.2.{number}", 1)
    assert max(len(list(folder.iterdir())) for folder in (archive.results, *archive.results.iterdir())) <= 256


def test_each_revision_has_a_results_folder_of_its_own(archive: Archive) -> None:
    first, second = archive.results_folder("1.9", 1), archive.results_folder("1.9", 2)
    assert first.is_dir()
    assert first != second
    assert archive.results_folder("1.9", 1) == first


def test_a_new_start_finds_what_was_not_recorded_and_clears_debris(archive: Archive) -> None:
    recorded, unrecorded, half = archive.receive(), archive.receive(), archive.receive()
    recorded.write(HEAD + b"a")
    archive.keep(recorded, "1.9", "1.2.1")
    archive.recorded(recorded.name)
    unrecorded.write(HEAD + b"b")
    archive.keep(unrecorded, "1.9", "1.2.2")
    half.write(HEAD)
    os.close(half.fd)

    again = Archive(archive.root)
    assert [path.name for path in again.left_behind()] == [unrecorded.name]
    assert [path.name for path in again.incoming.iterdir()] == [unrecorded.name]


def test_what_came_again_and_was_not_recorded_is_found_by_a_new_start(archive: Archive) -> None:
    keep(archive, b"pixels")
    again = archive.receive()
    again.write(encode_head("1.2", "1.2.3", "1.2.840.10008.1.2.1", "ANOTHER") + b"pixels")
    kept = archive.keep(again, "1.9", "1.2.3")
    left = [path for path in Archive(archive.root).left_behind() if path.name == kept.incoming_name]
    assert [decode_head(path.read_bytes()).source for path in left] == ["ANOTHER"]
    archive.recorded(kept.incoming_name, kept.path)
    assert not left[0].exists()


def test_an_image_whose_folder_is_not_known_to_be_on_the_disk_is_left_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "data")
    keep(archive, b"a", "1.2.1")
    first, again = archive.receive(), archive.receive()
    first.write(encode_head("1.2", "1.2.2", "1.2.840.10008.1.2.1", "CT1") + b"b")
    again.write(encode_head("1.2", "1.2.1", "1.2.840.10008.1.2.1", "CT1") + b"a")

    def fails(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(folder))

    monkeypatch.setattr("storage.durable.sync_folder", fails)
    for incoming, uid in ((first, "1.2.2"), (again, "1.2.1")):
        with pytest.raises(OSError, match="Input/output error"):
            archive.keep(incoming, "1.9", uid)
        incoming.discard()
    assert archive.path(archive.image_path("1.9", "1.2.2")).exists()
    (_, left) = Archive(archive.root).left_behind()
    assert left.name == first.name
    assert {path.name for path in archive.incoming.iterdir()} >= {first.name}
    assert again.name not in {path.name for path in archive.incoming.iterdir()}


def test_what_an_earlier_run_left_is_told_in_the_order_of_its_coming(archive: Archive) -> None:
    names = []
    for number in range(12):
        incoming = archive.receive()
        incoming.write(HEAD)
        names.append(archive.keep(incoming, "1.9", f"1.2.{number}").incoming_name)
    assert [path.name for path in Archive(archive.root).left_behind()] == names


def test_what_is_being_received_now_is_not_taken_for_debris(archive: Archive) -> None:
    incoming = archive.receive()
    assert list(archive.left_behind()) == []
    assert Path(incoming.path).exists()
    incoming.discard()


def test_a_withdrawn_image_is_set_aside_and_twice_is_as_once(archive: Archive) -> None:
    incoming = archive.receive()
    incoming.write(HEAD + b"pixels")
    kept = archive.keep(incoming, "1.9", "1.2.3")
    moved = archive.withdraw(kept.path, incoming.name)
    assert archive.withdraw(kept.path, incoming.name) == moved
    assert archive.path(moved).is_relative_to(archive.set_aside)
    assert archive.path(moved).read_bytes().endswith(b"pixels")
    assert not archive.path(kept.path).exists()
    assert list(archive.incoming.iterdir()) == []


def test_only_one_process_receives_at_a_time(archive: Archive) -> None:
    archive.claim()
    with pytest.raises(ArchiveError, match="Another Overread"):
        Archive(archive.root).claim()
    archive.release()
    Archive(archive.root).claim().release()


def test_whether_a_node_receives_there_is_seen_without_claiming_it(archive: Archive) -> None:
    assert not is_received_into(archive.root / "nowhere")
    assert not is_received_into(archive.root)
    archive.claim()
    assert is_received_into(archive.root)
    archive.release()
    assert not is_received_into(archive.root)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArchiveError, match=r"file/data.*node\.data_dir\.$"):
        Archive(tmp_path / "file" / "data")


def test_the_head_of_a_file_says_what_was_written() -> None:
    head = decode_head(HEAD + b"more")
    assert (head.uid, head.transfer_syntax, head.source) == ("1.2.3", "1.2.840.10008.1.2.1", "CT1")
    assert head.offset == len(HEAD)


def test_every_file_of_a_folder_is_made_durable_and_one_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "data")
    folder = archive.results_folder("1.2.3", 1)
    files = [folder / f"{number}.dcm" for number in range(20)]
    for file in files:
        file.write_bytes(b"result")
    synced: set[int] = set()
    broken: set[int] = set()

    def sync(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        if synced & broken:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", sync)
    archive.make_durable(folder)
    assert synced == {place.stat().st_ino for place in (*files, folder, folder.parent)}
    broken.add(files[13].stat().st_ino)
    with pytest.raises(OSError, match="Input/output error"):
        archive.make_durable(folder)
