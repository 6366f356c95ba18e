"""What the process that decodes says, in a form that can be checked: it may have been taken over by a file.

A document of JSON names what it is and describes its arrays, whose bytes follow in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from inference.findings import Caveat
from inference.pet_ct import PetCt
from inference.picture import Pictures, View
from inference.suv import SuvScale
from inference.volume import Volume

Frames = npt.NDArray[np.bool_]
Answer = Volume | Frames | str
"""A series; the frames of a segmentation; or why there is neither, in a sentence."""

Arrays = npt.NDArray[Any]
Take = Callable[["Array"], Arrays]
"""Gives the next of the arrays that follow the document, which is as described."""

_LONGEST_AXIS = 1 << 20
_LONGEST_REASON = 2000
_COLOURS = 3


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Array(_Part):
    """An array of C order that follows the document."""

    dtype: Literal["<i2", "<f4", "<f8", "|b1", "|u1"]
    shape: tuple[Annotated[int, Field(ge=0, le=_LONGEST_AXIS)], ...] = Field(max_length=4)

    @classmethod
    def of(cls, array: Arrays) -> Self:
        return cls.model_validate({"dtype": array.dtype.str, "shape": array.shape})

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


FrameNumber = Annotated[int, Field(ge=1, lt=1 << 31)]


class _Series(_Part):
    """The fields of any ``Volume``, named as there."""

    voxels: Array
    affine: Array
    series_uid: str
    frame_of_reference_uid: str
    images: tuple[tuple[str, FrameNumber | None] | None, ...]
    caveats: tuple[Caveat, ...]
    thickness_mm: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @property
    def arrays(self) -> tuple[Array, ...]:
        return self.voxels, self.affine

    def _taken(self, take: Take, kinds: Collection[str], colours: bool = False) -> dict[str, Any]:
        """The arguments of a volume. kinds: of numbers that its voxels may be. colours: whether each may be
        three of them."""
        count, *plane = self.voxels.shape
        is_sound = len(plane) == 2 or (colours and len(plane) == 3 and plane[-1] == _COLOURS)
        if not is_sound or count != len(self.images) or self.voxels.dtype not in kinds:
            raise ValueError("voxels that are not what their images are")
        if self.affine.shape != (4, 4) or self.affine.dtype != "<f8":
            raise ValueError("an affine that is none")
        voxels, affine = take(self.voxels), take(self.affine)
        if not np.isfinite(affine).all():
            raise ValueError("voxels that lie nowhere")
        return {
            "voxels": voxels,
            "affine": affine,
            "series_uid": self.series_uid,
            "frame_of_reference_uid": self.frame_of_reference_uid,
            "images": self.images,
            "caveats": self.caveats,
            "thickness_mm": self.thickness_mm,
        }


class _Volume(_Series):
    what: Literal["volume"] = "volume"

    def made(self, take: Take) -> Volume:
        return Volume(**self._taken(take, {"<i2", "<f4"}))


class _PetCt(_Series):
    what: Literal["pet-ct"] = "pet-ct"
    ct: _Volume
    scale: SuvScale

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (*super().arrays, *self.ct.arrays)

    def made(self, take: Take) -> PetCt:
        return PetCt(**self._taken(take, {"<f4"}), ct=self.ct.made(take), scale=self.scale)


class _Pictures(_Series):
    what: Literal["pictures"] = "pictures"
    views: tuple[View, ...]

    def made(self, take: Take) -> Pictures:
        if len(self.views) != len(self.images):
            raise ValueError("views that are not of these pictures")
        return Pictures(**self._taken(take, {"|u1"}, colours=True), views=self.views)


class _Frames(_Part):
    what: Literal["frames"] = "frames"
    frames: Array

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (self.frames,)

    def made(self, take: Take) -> Frames:
        if len(self.frames.shape) != 3 or self.frames.dtype != "|b1":
            raise ValueError("frames that are none")
        return np.not_equal(take(self.frames).view(np.uint8), 0)


class _Problem(_Part):
    what: Literal["problem"] = "problem"
    problem: str = Field(max_length=_LONGEST_REASON)

    @property
    def arrays(self) -> tuple[Array, ...]:
        return ()

    def made(self, _take: Take) -> str:
        return " ".join("".join(c if c.isprintable() else " " for c in self.problem).split())


Document = _Volume | _PetCt | _Pictures | _Frames | _Problem
_DOCUMENT: TypeAdapter[Document] = TypeAdapter(Annotated[Document, Field(discriminator="what")])


def written(answer: Answer) -> tuple[bytes, tuple[Arrays, ...]]:
    """The document, and the arrays that are to follow it."""
    if isinstance(answer, str):
        words = answer.encode("utf-8", "replace").decode()[:_LONGEST_REASON]
        return _DOCUMENT.dump_json(_Problem(problem=words)), ()
    if not isinstance(answer, Volume):
        return _DOCUMENT.dump_json(_Frames(frames=Array.of(answer))), (answer,)
    fields, arrays = _fields(answer), (answer.voxels, answer.affine)
    if isinstance(answer, Pictures):
        return _DOCUMENT.dump_json(_Pictures(**fields, views=answer.views)), arrays
    if isinstance(answer, PetCt) and answer.ct and answer.scale:
        pet_ct = _PetCt(**fields, ct=_Volume(**_fields(answer.ct)), scale=answer.scale)
        return _DOCUMENT.dump_json(pet_ct), (*arrays, answer.ct.voxels, answer.ct.affine)
    return _DOCUMENT.dump_json(_Volume(**fields)), arrays


def understood(document: bytes) -> Document:
    """
    Raises:
        ValueError: it is none of the things that may be said.
    """
    try:
        return _DOCUMENT.validate_json(document)
    except ValidationError as error:
        raise ValueError(f"an answer that is none ({error.error_count()} faults)") from None


def _fields(volume: Volume) -> dict[str, Any]:
    return {
        "voxels": Array.of(volume.voxels),
        "affine": Array.of(volume.affine),
        "series_uid": volume.series_uid,
        "frame_of_reference_uid": volume.frame_of_reference_uid,
        "images": volume.images,
        "caveats": volume.caveats,
        "thickness_mm": volume.thickness_mm,
    }
