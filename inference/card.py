"""What ``model.yaml`` says of a model: its tensors and thresholds, what it learned from, how it scores."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

DType = Literal["float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]
Dims = Annotated[tuple[int, ...], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OutputKind = Literal["heatmap", "mask", "logits", "probability", "regression"]
Activation = Literal["none", "sigmoid", "softmax"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CodedLabel(Part):
    """One channel or class of an output. ``code`` is a DICOM coded concept; ``color`` is sRGB, 0-255."""

    label: str
    scheme: str
    value: str
    meaning: str
    color: tuple[int, int, int] | None = None


class Intensity(Part):
    """How stored values become the network's: clip, then ``(value - subtract) / divide``."""

    clip: tuple[float, float] | None = None
    subtract: float = 0.0
    divide: Annotated[float, Field(gt=0)] = 1.0

    def applied_to(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """float32 values of the same shape; the input is left as it was."""
        scaled = values.astype(np.float32)
        if self.clip is not None:
            np.clip(scaled, *self.clip, out=scaled)
        if self.subtract:
            scaled -= np.float32(self.subtract)
        if self.divide != 1.0:
            scaled /= np.float32(self.divide)
        return scaled


class Shapes(Part):
    """The smallest, usual and largest shape an optimised engine is built for, batch included."""

    min: Dims
    opt: Dims
    max: Dims


class Tensor(Part):
    """A tensor as the ONNX graph declares it: ``dims`` include the batch, -1 is any length."""

    tensor: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
    dtype: DType = "float32"
    dims: Dims

    @model_validator(mode="after")
    def _dims_are_lengths(self) -> Self:
        if any(n != -1 and n < 1 for n in self.dims):
            raise ValueError(f"dims {list(self.dims)}: each must be -1 (any length) or at least 1")
        return self


class InputTensor(Tensor):
    """What the network wants to be fed.

    axes: a name for each of ``dims``, such as batch, channel, slice, row, column.
    orientation: patient direction in which slice, row and column index grow, as in "LPS" read from
        column to slice; None for a projection image.
    spacing_mm: voxel spacing in the order of the spatial axes (slice, row, column); None for as acquired.
    units: of the values before ``intensity``: HU, SUV, 8-bit.
    multiple_of: for each of ``dims``, what its length must be a multiple of.
    shapes: needed for a TensorRT engine where ``dims`` hold -1.
    """

    axes: tuple[str, ...] = ()
    orientation: Literal["LPS"] | None = None
    spacing_mm: tuple[float, ...] | None = None
    units: str = ""
    intensity: Intensity = Intensity()
    multiple_of: tuple[Annotated[int, Field(ge=1)], ...] = ()
    shapes: Shapes | None = None
    description: str = ""

    @model_validator(mode="after")
    def _lists_match_dims(self) -> Self:
        for name in ("axes", "multiple_of"):
            if (given := getattr(self, name)) and len(given) != len(self.dims):
                raise ValueError(f"{name} has {len(given)} entries where dims has {len(self.dims)}")
        for which in ("min", "opt", "max") if self.shapes else ():
            if (wrong := self.misfit(getattr(self.shapes, which))) is not None:
                raise ValueError(f"shapes.{which}: {wrong}")
        return self

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """None when the network takes ``shape``, else why not."""
        if len(shape) != len(self.dims):
            return f"shape {list(shape)} where the network takes {list(self.dims)}"
        for axis, (length, fixed) in enumerate(zip(shape, self.dims, strict=True)):
            name = self.axes[axis] if self.axes else f"axis {axis}"
            if length < 1 or fixed not in (-1, length):
                return f"{name} is {length} in {list(shape)} where the network takes {list(self.dims)}"
            if self.multiple_of and length % self.multiple_of[axis]:
                return (
                    f"{name} is {length} in {list(shape)}: pad it to a multiple of {self.multiple_of[axis]}"
                )
        return None


class OutputTensor(Tensor):
    """What the network says.

    stride: input voxels for each output voxel along the spatial axes.
    activation: what is already applied inside the network.
    labels: the channels or classes, in order.
    """

    kind: OutputKind
    stride: Annotated[int, Field(ge=1)] = 1
    activation: Activation = "none"
    units: str = ""
    labels: tuple[CodedLabel, ...] = ()
    description: str = ""


class OperatingPoint(Part):
    """A threshold by its name, and what it was chosen for."""

    threshold: float
    chosen_for: str = ""


class Tolerance(Part):
    """A difference d passes when ``d <= absolute + relative * |expected|`` everywhere."""

    absolute: Annotated[float, Field(ge=0)] = 1e-4
    relative: Annotated[float, Field(ge=0)] = 1e-4


class Parity(Tolerance):
    """A recorded input and output. ``sample`` is an .npz in the model's folder with one array for each
    tensor, named ``inputs/TENSOR`` and ``outputs/TENSOR``.

    half: what fp16 may differ by; None where the model is to be run in fp32 only.
    """

    sample: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+\.npz$")] = "parity.npz"
    half: Tolerance | None = None


class Batching(Part):
    """How Triton may join calls along the first axis. Volumes of differing shapes do not join: leave at 1."""

    max: Annotated[int, Field(ge=1, le=1024)] = 1
    preferred: tuple[Annotated[int, Field(ge=1)], ...] = ()
    delay_microseconds: Annotated[int, Field(ge=0)] = 0


class TrainingData(Part):
    name: str
    kind: Literal["phantom", "real"]
    cases: Annotated[int, Field(ge=0)]
    license: str = ""
    description: str = ""


class Metric(Part):
    """A figure: of what, on which data, between which 95 % limits, after learning from what."""

    metric: str
    value: float
    ci: tuple[float, float] | None = None
    data_set: str
    split: str
    cases: Annotated[int, Field(ge=0)] | None = None
    trained_on: Literal["phantom", "real", "phantom and real"]


class ModelCard(Part):
    """One ``model.yaml``.

    version: the folder that holds the weights, as Triton numbers it: ``NAME/VERSION/model.onnx``.
    readers: which readers use it.
    sha256: of ``model.onnx``.
    postprocess: constants of the reader's own that belong to these weights (mm, mm3, voxels).
    """

    name: Name
    version: Annotated[int, Field(ge=1)]
    task: str
    readers: tuple[Name, ...] = ()
    license: str
    sha256: Sha256
    inputs: Annotated[tuple[InputTensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[OutputTensor, ...], Field(min_length=1)]
    operating_points: dict[str, OperatingPoint] = {}
    postprocess: dict[str, float] = {}
    parity: Parity = Parity()
    batching: Batching = Batching()
    training_data: tuple[TrainingData, ...] = ()
    training_command: str = ""
    metrics: tuple[Metric, ...] = ()
    intended_use: str
    limits: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _tensors_are_distinct(self) -> Self:
        names = [t.tensor for t in (*self.inputs, *self.outputs)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"tensor names are used twice: {', '.join(twice)}")
        if self.batching.max > 1 and (
            odd := [t.tensor for t in (*self.inputs, *self.outputs) if t.dims[0] != -1]
        ):
            raise ValueError(
                f"batching.max is {self.batching.max} but the first of dims is not -1: {', '.join(odd)}"
            )
        return self

    def input(self, tensor: str) -> InputTensor:
        return next(t for t in self.inputs if t.tensor == tensor)

    def output(self, tensor: str) -> OutputTensor:
        return next(t for t in self.outputs if t.tensor == tensor)

    def threshold(self, operating_point: str) -> float:
        return self.operating_points[operating_point].threshold
