"""The vocabulary of a reading: what a model saw, where, how large, and since when.

Coordinates are DICOM patient space (LPS), millimetres, unless a name ends in ``_px``
(column, row of a projection image).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
Box = tuple[Point, Point]
Presence = Literal["present", "absent", "undetermined"]
Side = Literal["right", "left"]
Category = Literal["new", "increased", "stable", "decreased", "resolved"]
CaveatKind = Literal["unread", "left out", "interpolated", "corrected", "assumed", "unreported"]

MOSTLY = 0.5
"""A lesion of which this share was interpolated was made up more than it was seen."""


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): scheme designator, value, meaning."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Model:
    """Which weights made a reading; ``sha256`` is that of the ONNX file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Caveat:
    """What of a series was not read as it was sent, or not told; ``statement`` says it in a sentence.

    kind: ``unread``: images that show a part of the patient which no voxel of the volume shows; ``left out``:
        images that show no further part, such as localizers and other passes; ``interpolated``: slices that
        were not sent, made from their neighbours; ``corrected``: where the slices lie; ``assumed``: what no
        header tells; ``unreported``: images with findings beyond the most that are reported.
    images: how many it is of; 0 where it is of all.
    """

    kind: CaveatKind
    statement: str
    images: int = 0


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels of one region, cropped: ``voxels`` is bool (slices, rows, columns),
    ``origin`` the index of its first voxel in the volume it was drawn on."""

    origin: tuple[int, int, int]
    voxels: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Axis:
    """A straight measurement between two points in patient space."""

    start: Point
    end: Point

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(np.subtract(self.end, self.start)))


@dataclass(frozen=True)
class Assessment:
    """What a guideline makes of a finding or of the whole: ``result`` in its own words, ``statement`` a
    sentence, ``recommendation`` what it says to do, empty where that is no matter of this finding alone."""

    guideline: str
    result: str
    statement: str
    recommendation: str = ""

    @property
    def words(self) -> str:
        return f"{self.guideline}: {self.statement} {self.recommendation}".rstrip()


@dataclass(frozen=True)
class Response:
    """The patient's response, and that of the target lesions alone (``target_result``, None where there are
    none); sums of their diameters in mm at baseline, at their smallest before now, and now. All lesions are
    tracking UIDs: ``targets``; ``new_lesions`` since the baseline, ``doubtful`` ones too small to count yet;
    ``others`` of the baseline; those known to be gone are left out of these three. ``parts``: further parts
    of lesions that split, each with the lesion it counts to. ``studies``: how many were judged, from the
    baseline to now; 0 where that was not noted."""

    guideline: str
    result: str
    statement: str
    baseline_mm: float
    nadir_mm: float
    current_mm: float
    targets: tuple[str, ...] = ()
    target_result: str | None = None
    new_lesions: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    studies: int = 0

    @property
    def is_overall(self) -> bool:
        """Whether more than the target lesions was judged: new lesions decide it, or a complete response,
        which is of all lesions, is one or is not. Growth of the others is not judged."""
        return bool(self.new_lesions) or self.result != self.target_result or self.result == "CR"


@dataclass(frozen=True)
class SolidPart:
    """The solid voxels of a part-solid lesion: diameter of the sphere they fill, 0 where there are none, and
    their mean HU."""

    diameter_mm: float
    mean_hu: float | None


@dataclass(frozen=True)
class Change:
    """A finding set against the same finding in a prior study; one that is new against a study without it.

    ``limit_percent``: the change of volume that repeatability asks for, up or down. ``prior_…``: the same
    finding there, its key slice and its centre, in the prior's own LPS mm; ``aligned_center_mm``: the
    centre it has in the newest prior that shows any of it, in the current scan. ``prior_solid``: of a lesion
    that is not ground glass now, the solid part there, where it was part-solid or ground glass;
    ``prior_kind``: its type there.
    ``forecast``: see ``inference.growth.forecast``.
    """

    prior_study_uid: str
    prior_date: str
    days: int
    category: Category
    volume_change_percent: float | None
    doubling_time_days: float | None
    significant: bool
    match_confidence: float
    forecast: Mapping[str, Any] | None = None
    limit_percent: float | None = None
    prior_image_uid: str = ""
    prior_frame: int | None = None
    prior_center_mm: Point | None = None
    aligned_center_mm: Point | None = None
    prior_long_axis_mm: float | None = None
    prior_short_axis_mm: float | None = None
    prior_volume_mm3: float | None = None
    mean_hu_change: float | None = None
    prior_solid: SolidPart | None = None
    prior_kind: str | None = None


@dataclass(frozen=True)
class Uptake:
    """What a lesion takes up on PET: SUV of body weight, g/ml. ``suv_peak``: mean over the hottest sphere of
    1 ml. ``glycolysis_g``: SUVmean times metabolic volume in ml (TLG); that volume is the finding's own.
    ``contour``: the SUV its border was drawn at. ``lean_peak``: SUVpeak of lean body mass (Janmahasatian)."""

    suv_max: float
    suv_mean: float
    suv_peak: float
    glycolysis_g: float
    contour: float
    lean_peak: float | None = None


@dataclass(frozen=True)
class Finding:
    """One lesion on a volume. ``image_uid`` is the SOP Instance UID of its key slice, on which both
    axes lie; ``frame`` is that slice's 1-based frame number in a multi-frame image, else None.
    ``score`` is a probability, ``malignancy`` the network's suspicion of it, 0 to 1. ``kind`` is the lesion's
    type in words, such as part-solid. ``site`` is the anatomic site, where the lesion's own code does not
    imply it; ``side`` the patient's, where it is known. ``solid``: of one that is part-solid.
    ``interpolated``: the share of its volume that lies in slices which were not sent, 0 to 1. ``cut``: it
    reaches the first or last slice of the scan, and may go on beyond: no change is told by its size.
    ``by_look``: the search of this scan did not find it; a closer look did, where another study has it. Its
    ``score`` is then that look's alone, whose scale is not the reader's.
    ``assessments``: by its change where it was compared, else by what is seen here alone. ``mask`` never
    enters JSON.

    in_pixels: on a picture; coordinates are then (column, row, 0) in pixels, lengths are in pixels and
    ``volume_mm3`` is an area in pixels.
    """

    label: str
    code: Code
    center_mm: Point
    box_mm: Box
    image_uid: str
    score: float
    long_axis: Axis
    short_axis: Axis
    volume_mm3: float
    mean_hu: float | None = None
    malignancy: float | None = None
    kind: str | None = None
    frame: int | None = None
    tracking_uid: str = ""
    change: Change | None = None
    in_pixels: bool = False
    uptake: Uptake | None = None
    site: Code | None = None
    side: Side | None = None
    solid: SolidPart | None = None
    assessments: tuple[Assessment, ...] = ()
    interpolated: float = 0.0
    cut: bool = False
    by_look: bool = False
    mask: Mask | None = field(default=None, compare=False, repr=False)

    @property
    def certainty(self) -> float | None:
        """Its probability on the reader's own scale; None of what only a look found."""
        return None if self.by_look else self.score

    @property
    def long_axis_mm(self) -> float:
        return self.long_axis.length_mm

    @property
    def short_axis_mm(self) -> float:
        return self.short_axis.length_mm

    @property
    def is_sized(self) -> bool:
        """False of a box around evidence on a picture: its sides measure nothing."""
        return self.mask is not None or not self.in_pixels

    @property
    def caveat(self) -> str:
        """What makes it, or its size, doubtful, in sentences; empty where nothing does."""
        doubts = []
        if self.by_look:
            doubts.append(
                "Found at its place in the prior by a closer look, not by the search: no certainty is told."
            )
        if self.interpolated >= MOSTLY:
            doubts.append(
                f"{100 * self.interpolated:.0f} % of its volume lies in slices that were not sent and are "
                "interpolated: its size is uncertain."
            )
        if self.cut:
            doubts.append("It reaches the first or last slice of the scan: it may be larger than measured.")
        return " ".join(doubts)

    def tracked_as(self, uid: str, change: Change | None = None) -> Self:
        return replace(self, tracking_uid=uid, change=change)


@dataclass(frozen=True)
class ClassProbability:
    """An image-level class. ``present_from``, ``absent_below``: the operating points, None where there is
    none; between them nothing is claimed."""

    label: str
    code: Code
    probability: float
    present_from: float | None = None
    absent_below: float | None = None

    @property
    def presence(self) -> Presence:
        if self.present_from is not None and self.probability >= self.present_from:
            return "present"
        if self.absent_below is not None and self.probability < self.absent_below:
            return "absent"
        return "undetermined"

    @property
    def caveat(self) -> str:
        """Why nothing is claimed of it, whatever its probability; empty where it has an operating point."""
        if self.present_from is not None or self.absent_below is not None:
            return ""
        return (
            f"{self.label} is a probability alone: without an operating point it is called neither present "
            "nor absent."
        )


@dataclass(frozen=True)
class Segment:
    """A segmented structure that is not a lesion (an organ, a lung)."""

    label: str
    code: Code
    volume_mm3: float | None = None
    area_mm2: float | None = None
    mask: Mask | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Measurement:
    """A number that was measured on an image, of no lesion: ``unit`` is a UCUM code. ``lines``: what it was
    taken from, on a picture in (column, row, 0); ``image_uid`` and ``frame``: where they lie. ``site``: of
    what part of the body. ``caveat`` says in sentences what makes it doubtful; empty where nothing does."""

    label: str
    code: Code
    value: float
    unit: str
    image_uid: str
    lines: tuple[Axis, ...]
    frame: int | None = None
    site: Code | None = None
    caveat: str = ""

    @property
    def words(self) -> str:
        value = f"{self.value:.2f}" if self.unit == "{ratio}" else f"{self.value:.0f} {self.unit}"
        return f"{self.label}: {value}"


@dataclass(frozen=True)
class Reading:
    """What one reader found on one series. ``models`` lists every network that took part, the reader's
    own first; ``seconds`` the time of each stage: decode, preprocess, inference, postprocess, ...

    image_uids: the images that were read, where that is not all of the series.
    resolved: findings of the prior that are gone, as they were there, each with its change.
    assessments: of the examination as a whole.
    response: of all target lesions together. comparison_notes: what was compared and what could not be,
    a sentence each. left_to: the readers that report of the same study what is left out here.
    caveats: what of the series was not read as it was sent.
    measurements: of no finding.
    """

    reader: str
    series_uid: str
    models: tuple[Model, ...]
    findings: tuple[Finding, ...] = ()
    classes: tuple[ClassProbability, ...] = ()
    segments: tuple[Segment, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    resolved: tuple[Finding, ...] = ()
    response: Response | None = None
    comparison_notes: tuple[str, ...] = ()
    left_to: tuple[str, ...] = ()
    image_uids: tuple[str, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    @property
    def unread(self) -> tuple[Caveat, ...]:
        """What a part of the patient was left out for. With any, nothing that the reader looks for is absent:
        the reading is incomplete."""
        return tuple(caveat for caveat in self.caveats if caveat.kind == "unread")

    @property
    def model(self) -> Model:
        return self.models[0]
