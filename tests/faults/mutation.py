"""Inputs of ill will: sound data sets and PDUs, changed at random. The same seed gives the same inputs."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from tests.node.intake.senders import ct_slice, encoded, in_transfer_syntax

LENGTHS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
TEMPLATE_UID = "1.2.826.0.1.3680043.8.498.1000000000"
"""Of the seeds; each input has another of the same length in its place."""

Mutation = Callable[[random.Random, bytearray], bytearray]


@dataclass(frozen=True)
class Seed:
    """A sound data set as it goes over the wire."""

    transfer_syntax: str
    data: bytes


@dataclass(frozen=True)
class Input:
    """A data set to be sent as the object ``uid``."""

    uid: str
    transfer_syntax: str
    data: bytes


def seeds() -> list[Seed]:
    """CT images in every kind of encoding, with sequences, foreign letters and several frames."""
    made = [
        Seed(syntax, _sent(_image(), syntax)) for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    made += [Seed(s, _sent(_image(), s)) for s in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)]
    frames = _image()
    frames.file_meta.TransferSyntaxUID = JPEGLSLossless
    frames.NumberOfFrames = 3
    frames.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + bytes(40) + b"\xff\xd9"] * 3)
    frames["PixelData"].VR, frames["PixelData"].is_undefined_length = "OB", True
    return [*made, Seed(JPEGLSLossless, encoded(frames))]


def data_set(among: Sequence[Seed], seed: int, number: int) -> Input:
    """The ``number``-th input of a run."""
    chance = random.Random(f"{seed}/{number}")
    chosen = chance.choice(among)
    uid = f"{TEMPLATE_UID[:-10]}{2_000_000_000 + number}"
    data = bytearray(chosen.data.replace(TEMPLATE_UID.encode(), uid.encode()))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        data = chance.choice(MUTATIONS)(chance, data)
    return Input(uid, chosen.transfer_syntax, bytes(data))


def stream(pdus: Sequence[bytes], seed: int, number: int) -> bytes:
    """What is sent over one connection: the PDUs, some of them changed, left out, doubled or in disorder."""
    chance = random.Random(f"pdu/{seed}/{number}")
    parts = [bytearray(pdu) for pdu in pdus]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(parts))
        match chance.randrange(8):
            case 0:
                parts.insert(place, bytearray(parts[chance.randrange(len(parts))]))
            case 1 if len(parts) > 1:
                del parts[place]
            case 2:
                chance.shuffle(parts)
            case 3:
                struct.pack_into(">I", parts[place], 2, chance.choice(LENGTHS)) if len(
                    parts[place]
                ) >= 6 else None
            case _:
                parts[place] = chance.choice(MUTATIONS)(chance, parts[place])
    return b"".join(parts)


def _image() -> Dataset:
    image = ct_slice(size=8)
    image.SOPInstanceUID = TEMPLATE_UID
    image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    image.PatientName = "Yamada^Tarou=山田^太郎"
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "T-D3000", "SRT", "Chest"
    outer = Dataset()
    outer.AnatomicRegionSequence = Items([inner])
    image.RequestAttributesSequence = Items([outer, outer])
    image["RequestAttributesSequence"].is_undefined_length = True
    return image


def _sent(image: Dataset, syntax: str) -> bytes:
    return in_transfer_syntax(image, UID(syntax))[1]


def _flip_bits(chance: random.Random, data: bytearray) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 16))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _set_bytes(chance: random.Random, data: bytearray) -> bytearray:
    for _ in range(chance.choice((1, 2, 4))):
        if data:
            data[chance.randrange(len(data))] = chance.choice((0, 0x20, 0x5C, 0x7F, 0x80, 0xFE, 0xFF))
    return data


def _cut_short(chance: random.Random, data: bytearray) -> bytearray:
    return data[: chance.randrange(len(data) + 1)]


def _leave_out(chance: random.Random, data: bytearray) -> bytearray:
    place = chance.randrange(len(data) + 1)
    del data[place : place + chance.choice((1, 2, 4, 8, 64, 500))]
    return data


def _repeat(chance: random.Random, data: bytearray) -> bytearray:
    place = chance.randrange(len(data) + 1)
    data[place:place] = data[place : place + chance.choice((1, 8, 64, 500))] * chance.choice((1, 2, 50))
    return data


def _insert(chance: random.Random, data: bytearray) -> bytearray:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.randbytes(chance.choice((1, 2, 8, 100)))
    return data


def _lie_about_a_length(chance: random.Random, data: bytearray) -> bytearray:
    width = chance.choice(("<H", "<I", ">H", ">I"))
    size = struct.calcsize(width)
    if len(data) >= size:
        value = chance.choice((*LENGTHS, len(data))) & ((1 << 8 * size) - 1)
        struct.pack_into(width, data, chance.randrange(len(data) - size + 1), value)
    return data


def _nest(chance: random.Random, data: bytearray) -> bytearray:
    place = chance.randrange(len(data) + 1)
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data[place:place] = opening * chance.choice((1, 70, 3000))
    return data


def _other_vr(chance: random.Random, data: bytearray) -> bytearray:
    for vr in chance.sample((b"UI", b"LO", b"SQ", b"OW", b"US", b"PN", b"UN", b"DS"), 2):
        place = data.find(vr, chance.randrange(len(data) + 1))
        if place >= 0:
            data[place : place + 2] = chance.choice((b"SQ", b"UN", b"OB", b"FD", b"ZZ", b"AT", b"UT"))
    return data


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _set_bytes,
    _cut_short,
    _leave_out,
    _repeat,
    _insert,
    _lie_about_a_length,
    _nest,
    _other_vr,
)
SOP_CLASS = CTImageStorage
