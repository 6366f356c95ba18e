"""What was sent cannot take the node down: a series whose pixels do harm cannot be read, and the next can."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.pet_ct import PetCt
from inference.picture import Pictures
from inference.series import load_series
from inference.suv import Normalisation, SuvScale
from inference.volume import Volume
from node.decoding import DecodingProcess
from node.decoding.answers import Answer
from node.decoding.messages import answered, ask, reply
from node.stopping import Stopping
from node.workflow import DurableQueue, Step, StepFailedError
from tests.inference.pictures import DX, VIDEO_LIKE, write_picture
from tests.inference.series import write_scene

MEMORY, SECONDS = 1 << 30, 60.0

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def decoding() -> Iterator[DecodingProcess]:
    process = DecodingProcess(MEMORY, SECONDS)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def scene(tmp_path: Path) -> list[Path]:
    return write_scene(tmp_path)


def test_a_volume_is_the_same_as_one_loaded_here(decoding: DecodingProcess, scene: list[Path]) -> None:
    there, here = decoding.load(scene), load_series(scene)
    assert np.array_equal(there.voxels, here.voxels)
    assert there.voxels.dtype == here.voxels.dtype
    assert np.array_equal(there.affine, here.affine)
    assert (there.images, there.series_uid, there.caveats) == (here.images, here.series_uid, here.caveats)
    there.voxels[0] = 0  # it is ours, as any array


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def send_document(connection: socket.socket, document: Any, arrays: bytes = b"") -> None:
    body = json.dumps(document).encode()
    connection.sendall(struct.pack("!Q", len(body)) + body + arrays)


def passed(ends: Ends, answer: Answer, most: int = MEMORY) -> Answer:
    sending = threading.Thread(target=reply, args=(ends[1], answer))
    sending.start()
    try:
        return answered(ends[0], most, time.monotonic() + SECONDS)
    finally:
        sending.join()


def test_every_answer_comes_as_it_was(ends: Ends, scene: list[Path]) -> None:
    ct = load_series(scene)
    given = PetCt(
        voxels=np.asfortranarray(ct.voxels, np.float32),
        affine=ct.affine,
        series_uid="1.2",
        frame_of_reference_uid="1.3",
        images=(*ct.images[:-1], None),
        caveats=(Caveat("unread", "said", 2),),
        ct=ct,
        scale=SuvScale({Normalisation.BODY_WEIGHT: 0.25}, ("assumed",)),
    )
    taken = passed(ends, given)
    assert isinstance(taken, PetCt)
    assert np.array_equal(taken.voxels, given.voxels)
    assert taken.ct is not None
    assert np.array_equal(taken.ct.voxels, ct.voxels)
    assert (taken.scale, taken.images, taken.caveats) == (given.scale, given.images, given.caveats)
    frames = passed(ends, np.eye(3, dtype=bool)[None])
    assert isinstance(frames, np.ndarray)
    assert frames.tolist() == [[[True, False, False], [False, True, False], [False, False, True]]]
    assert passed(ends, "why") == "why"


def test_arrays_larger_than_their_cap_are_not_taken(ends: Ends) -> None:
    with pytest.raises(ValueError, match="more than may come"):
        passed(ends, np.zeros((10, 10, 10), bool), most=999)


A_FRAME = {"dtype": "|b1", "shape": [1, 1, 1]}


@pytest.mark.parametrize(
    "harm",
    [
        pickle.dumps(os.system),
        {"what": "frames", "frames": A_FRAME, "more": 1},
        {"what": "frames", "frames": A_FRAME | {"dtype": "|O"}},
        {"what": "frames", "frames": A_FRAME | {"shape": [-1, 1, 1]}},
        {"what": "frames", "frames": A_FRAME | {"shape": [1] * 5}},
        {"what": "frames", "frames": A_FRAME | {"shape": [1]}},
        {"what": "volume", "voxels": A_FRAME, "affine": A_FRAME},
        {"what": "problem", "problem": [[]]},
    ],
)
def test_an_answer_is_nothing_but_what_may_be_said(ends: Ends, harm: Any) -> None:
    document = harm if isinstance(harm, bytes) else json.dumps(harm).encode()
    ends[1].sendall(struct.pack("!Q", len(document)) + document + bytes(8))
    with pytest.raises(ValueError, match=r"none"):
        answered(ends[0], MEMORY, time.monotonic() + SECONDS)


def test_an_answer_longer_than_any_is_not_waited_for(ends: Ends) -> None:
    ends[1].sendall(struct.pack("!Q", 1 << 60))
    with pytest.raises(ValueError, match="longer than any"):
        answered(ends[0], MEMORY, time.monotonic() + SECONDS)


def test_an_answer_that_is_cut_short_is_none(ends: Ends) -> None:
    document = json.dumps({"what": "frames", "frames": A_FRAME}).encode()
    ends[1].sendall(struct.pack("!Q", len(document)) + document)
    ends[1].shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        answered(ends[0], MEMORY, time.monotonic() + SECONDS)


def test_bytes_that_dribble_are_not_waited_for_beyond_the_deadline(ends: Ends) -> None:
    is_over = threading.Event()

    def dribble() -> None:
        ends[1].sendall(struct.pack("!Q", 1000))
        while not is_over.wait(0.05):
            ends[1].sendall(b" ")

    sending = threading.Thread(target=dribble)
    sending.start()
    try:
        with pytest.raises(TimeoutError):
            answered(ends[0], MEMORY, time.monotonic() + 0.5)
    finally:
        is_over.set()
        sending.join()


A_SERIES = {
    "what": "volume",
    "voxels": {"dtype": "<i2", "shape": [1, 1, 1]},
    "affine": {"dtype": "<f8", "shape": [4, 4]},
    "series_uid": "1.2",
    "frame_of_reference_uid": "1.3",
    "images": [["1.4", None]],
    "caveats": [],
    "thickness_mm": 1.0,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": []},
        {"images": [["1.4", -7]]},
        {"caveats": [{"kind": "rumour", "statement": "said"}]},
        {"voxels": {"dtype": "|b1", "shape": [1, 1, 1]}},
        {"voxels": {"dtype": "<i2", "shape": [1, 1, 1, 3]}},
        {"affine": {"dtype": "<f8", "shape": [4]}},
        {"affine": {"dtype": "|b1", "shape": [4, 4]}},
        {"thickness_mm": -5.0},
        {
            "what": "pictures",
            "voxels": {"dtype": "|u1", "shape": [1, 1, 1, 7]},
            "views": [{"modality": "DX"}],
        },
        {"what": "pictures", "voxels": {"dtype": "|u1", "shape": [1, 1, 1]}, "views": []},
    ],
)
def test_a_series_whose_parts_do_not_fit_is_none(ends: Ends, wrong: dict[str, Any]) -> None:
    send_document(ends[1], A_SERIES | wrong, bytes(1000))
    with pytest.raises(ValueError, match=r"none|not what|not of these"):
        answered(ends[0], MEMORY, time.monotonic() + SECONDS)


def test_a_series_that_lies_nowhere_is_none(ends: Ends) -> None:
    send_document(ends[1], A_SERIES, bytes(2) + np.full((4, 4), np.nan).tobytes())
    with pytest.raises(ValueError, match="lie nowhere"):
        answered(ends[0], MEMORY, time.monotonic() + SECONDS)


def test_a_series_whose_parts_fit_is_taken(ends: Ends) -> None:
    send_document(ends[1], A_SERIES, bytes(2) + np.eye(4).tobytes())
    assert isinstance(answered(ends[0], MEMORY, time.monotonic() + SECONDS), Volume)


def test_what_cannot_be_read_is_said_in_one_printable_line(ends: Ends) -> None:
    said = passed(ends, "a\n\x1b[31m\0b \udcff" + 3000 * "c")
    assert isinstance(said, str)
    assert said.startswith("a [31m b ?ccc")
    assert len(said) <= 2000


def test_what_is_left_of_an_answer_is_not_the_next_one_s(
    decoding: DecodingProcess, scene: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_connection: socket.socket, _most: int, _until: float) -> Answer:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("node.decoding.answered", full)
        with pytest.raises(UnreadableSeriesError, match="more memory than is left here"):
            decoding.load(scene)
    assert len(decoding.load(scene).voxels) == len(scene)


@pytest.mark.parametrize(
    "lie",
    [
        {"series_uid": "1.2.3"},
        {"frame_of_reference_uid": "1.2.3"},
        {"images": (("1.2.3", None), None)},
    ],
)
def test_an_answer_of_other_images_than_were_asked_about_is_refused(
    lie: dict[str, Any],
    decoding: DecodingProcess,
    tmp_path: Path,
    scene: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = [write_picture(tmp_path / "p.dcm", np.arange(64, dtype=np.uint8).reshape(8, 8), "DX", DX)]
    ct, scale = load_series(scene), SuvScale({Normalisation.BODY_WEIGHT: 0.25}, ())
    for asked, answer in [
        (scene, replace(ct, **lie)),
        (picture, replace(load_series(picture), **lie)),
        (scene, PetCt(**vars(ct), ct=replace(ct, **lie), scale=scale)),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr("node.decoding.answered", lambda *_, answer=answer: answer)
            with pytest.raises(UnreadableSeriesError, match="answered of other images than it was asked"):
                decoding.load(asked)
        assert decoding._process is None
        assert len(decoding.load(asked).voxels)


def test_pictures_come_with_their_views(decoding: DecodingProcess, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "p.dcm", np.arange(64, dtype=np.uint8).reshape(8, 8), "DX", DX)
    there = decoding.load([path])
    assert isinstance(there, Pictures)
    assert there.views == load_series([path]).views


def test_what_cannot_be_read_is_said_as_ever(decoding: DecodingProcess, tmp_path: Path) -> None:
    path = tmp_path / "text.dcm"
    path.write_text("no image")
    with pytest.raises(UnreadableSeriesError, match=r"text\.dcm"):
        decoding.load([path])


def test_a_frame_that_lies_about_its_size_ends_its_series_alone(
    decoding: DecodingProcess, tmp_path: Path, scene: list[Path]
) -> None:
    path = write_picture(tmp_path / "lie.dcm", np.zeros((8, 8), np.uint8), "DX", DX)
    image = dcmread(path)
    image.PixelData = encapsulate([jpeg_that_claims(65_500)])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.save_as(path)
    with pytest.raises(UnreadableSeriesError):
        decoding.load([path])
    assert len(decoding.load(scene).voxels) == len(scene)


def test_a_series_that_claims_more_than_memory_holds_ends_alone(tmp_path: Path, scene: list[Path]) -> None:
    small = DecodingProcess(192 << 20, SECONDS)
    frames = np.zeros((60, 600, 900, 3), np.uint8)
    path = write_picture(tmp_path / "large.dcm", frames, "ES", VIDEO_LIKE)
    try:
        with pytest.raises(UnreadableSeriesError):
            small.load([path])
        assert len(small.load(scene).voxels) == len(scene)
    finally:
        small.stop()


def test_a_decoder_that_dies_ends_its_series_and_the_next_has_another(
    scene: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = DecodingProcess(MEMORY, SECONDS)
    process.start()
    assert process._process is not None
    first = process._process.pid
    os.kill(first, signal.SIGSTOP)  # so that it is within the series when it dies

    def ask_and_kill(*given: Any) -> None:
        ask(*given)
        if process._process is not None and process._process.pid == first:
            threading.Timer(0.1, os.kill, (first, signal.SIGKILL)).start()

    monkeypatch.setattr("node.decoding.ask", ask_and_kill)
    try:
        with pytest.raises(UnreadableSeriesError, match=r"took the process down.*SIGKILL"):
            process.load(scene)
        assert len(process.load(scene).voxels) == len(scene)
        assert process._process.pid != first
    finally:
        process.stop()


def test_what_takes_too_long_is_given_up(scene: list[Path]) -> None:
    process = DecodingProcess(MEMORY, 1.0)
    process.start()
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(UnreadableSeriesError, match=r"within 1 s.*pixels\.seconds"):
            process.load(scene)
    finally:
        process.stop()


def test_the_process_that_decodes_is_told_no_password(
    scene: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv("OVERREAD_DATABASE__URL", "postgresql+psycopg://node:hunter2@db/overread")
    process = DecodingProcess(MEMORY, SECONDS)
    try:
        assert len(process.load(scene).voxels) == len(scene)  # what it does need, it has
        assert process._process is not None
        told = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    finally:
        process.stop()
    assert b"PATH=" in told
    assert b"hunter2" not in told


def test_a_stop_of_all_processes_of_the_node_does_not_cut_a_series_short(scene: list[Path]) -> None:
    process = DecodingProcess(MEMORY, SECONDS)
    process.load(scene)
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGTERM)
    assert len(process.load(scene).voxels) == len(scene)
    running = process._process
    process.stop()
    assert running.poll() is not None


def jpeg_that_claims(size: int) -> bytes:
    """A baseline JPEG of 8 x 8 whose header says ``size`` x ``size``."""
    made = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(made, "JPEG")
    data = bytearray(made.getvalue())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = size.to_bytes(2, "big") * 2
    return bytes(data)


def test_a_stop_within_a_series_leaves_its_step_to_be_done_by_the_next_start(
    database_url: str, scene: list[Path]
) -> None:
    process = DecodingProcess(MEMORY, SECONDS)
    process.start()
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGSTOP)
    entered, done, outcomes = threading.Event(), threading.Event(), []

    def decode() -> int:
        entered.set()
        return len(process.load(scene).voxels)

    def read(step: Step, _study: str) -> None:
        try:
            outcomes.append(step("infer", decode))
        except StepFailedError as failure:
            outcomes.append(failure.reason)
        done.set()

    queue = DurableQueue(database_url, "here", read)
    queue.start()
    queue.enqueue("1.2/1", "1.2")
    assert entered.wait(20)
    queue.stop(seconds=0.2)
    process.stop()
    assert not done.wait(0.5)
    with pytest.raises(Stopping):
        process.load(scene)
    assert process._process is None

    process.start()
    queue = DurableQueue(database_url, "here", read)
    queue.start()
    try:
        assert done.wait(20)
    finally:
        queue.stop()
        process.stop()
    assert outcomes == [len(scene)]
