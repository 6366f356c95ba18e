"""Small CT series with ellipsoids in them, in any orientation, and what a perfect reader would find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.findings import Axis, Finding, Mask, Model, Point, Reading
from inference.volume import Volume, load_volume
from node.results import ResultFile, codes, write
from node.results.edition import Predecessor
from node.results.identity import reading_identity, tracking_uid
from training.phantoms.dicom import Patient, Series, Study, write_ct_series

Affine = npt.NDArray[np.float64]
WHEN = datetime(2024, 1, 15, 12, 30, tzinfo=UTC)
PATIENT, STUDY, SERIES = Patient(), Study(), Series()
MODEL = Model("lung-nodules", "1.0.0", "ab" * 32)
_COS, _SIN = np.cos(np.radians(25)), np.sin(np.radians(25))


def affine(
    right: Sequence[float],
    down: Sequence[float],
    step: Sequence[float],
    spacing: tuple[float, float, float] = (2.0, 0.8, 0.7),
    corner: Point = (-31.0, 17.5, -250.25),
) -> Affine:
    """(slice, row, column, 1) to LPS mm, from the directions in which columns, rows, slices increase."""
    matrix = np.eye(4)
    for column, (direction, mm) in enumerate(zip((step, down, right), spacing, strict=True)):
        matrix[:3, column] = np.array(direction, float) * mm
    matrix[:3, 3] = corner
    return matrix


ORIENTATIONS: Mapping[str, Affine] = {
    "axial": affine((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "reversed": affine((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "feet-first": affine((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "prone": affine((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": affine((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": affine((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "oblique": affine((_COS, _SIN, 0), (-_SIN * _COS, _COS * _COS, -_SIN), (-_SIN * _SIN, _SIN * _COS, _COS)),
    "tilted": affine((1, 0, 0), (0, _COS, -_SIN), (0, 0, 1)),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A series on disk, its volume, and a reading of it."""

    paths: list[Path]
    volume: Volume
    reading: Reading

    @property
    def identity(self) -> str:
        uids = [image[0] for image in self.volume.images if image is not None]
        return reading_identity(self.reading.reader, self.reading.series_uid, uids, self.reading.models, {})

    def write(
        self,
        out: Path,
        *kinds: str,
        identity: str = "",
        when: datetime = WHEN,
        predecessors: Sequence[Predecessor] = (),
        udi: str = "",
    ) -> dict[str, ResultFile]:
        """The result files by their names without suffix."""
        files = write(
            self.reading,
            self.volume,
            self.paths,
            out,
            kinds=kinds or ("seg", "sr"),
            when=when,
            identity=identity or self.identity,
            predecessors=predecessors,
            udi=udi,
        )
        return {file.path.stem: file for file in files}

    def with_findings(self, *findings: Finding) -> Case:
        return replace(self, reading=replace(self.reading, findings=findings))


def phantom(
    folder: Path,
    matrix: Affine = ORIENTATIONS["axial"],
    *,
    shape: tuple[int, int, int] = (16, 40, 48),
    lesions: int = 2,
    patient: Patient = PATIENT,
    study: Study = STUDY,
    series: Series = SERIES,
) -> Case:
    """Writes a series with ellipsoids along its diagonal, shuffled, and reads it back perfectly."""
    voxels = np.random.default_rng(7).normal(-850, 20, shape).astype(np.int16)
    places = [np.array(shape) * (n + 1) / (lesions + 1) - 0.5 for n in range(lesions)]
    for place in places:
        voxels[_ellipsoid(shape, place)] = 40
    paths = write_ct_series(
        folder, voxels, matrix, patient=patient, study=study, series=series, shuffle_seed=3
    )
    volume = load_volume(paths)
    case = Case(paths, volume, Reading("lung-nodules", volume.series_uid, (MODEL,)))
    findings = []
    for place in places:
        center = matrix[:3] @ (*place, 1)
        on_volume = np.linalg.solve(volume.affine, (*center, 1))[:3]
        finding = nodule(volume, on_volume)
        findings.append(finding.tracked_as(tracking_uid(case.identity, finding)))
    return case.with_findings(*findings)


def nodule(volume: Volume, place: npt.NDArray[np.float64]) -> Finding:
    """The ellipsoid around an index, measured on its middle slice."""
    voxels = _ellipsoid(volume.voxels.shape, place)
    corners = np.argwhere(voxels)
    low, high = corners.min(axis=0), corners.max(axis=0)
    mask = Mask(tuple(low.tolist()), voxels[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))])
    index = round(float(place[0]))
    image = volume.images[index]
    assert image is not None

    def point(row: float, column: float) -> Point:
        x, y, z = volume.affine[:3] @ (index, row, column, 1)
        return float(x), float(y), float(z)

    _, row, column = place
    ends = [volume.affine[:3] @ (*corner, 1) for corner in (low, high)]
    x, y, z = (volume.affine[:3] @ (*place, 1)).tolist()
    return Finding(
        label="nodule",
        code=codes.PULMONARY_NODULE.code,
        center_mm=(x, y, z),
        box_mm=(tuple(np.min(ends, axis=0).tolist()), tuple(np.max(ends, axis=0).tolist())),
        image_uid=image[0],
        frame=image[1],
        score=0.93,
        long_axis=Axis(point(row, column - 6), point(row, column + 6)),
        short_axis=Axis(point(row - 4, column), point(row + 4, column)),
        volume_mm3=float(voxels.sum() * abs(np.linalg.det(volume.affine[:3, :3]))),
        mean_hu=40.0,
        malignancy=0.41,
        mask=mask,
    )


def mask_positions(finding: Finding, volume: Volume) -> npt.NDArray[np.float64]:
    """Centres of the mask's voxels in patient space, (n, 3), sorted."""
    assert finding.mask is not None
    indices = np.argwhere(finding.mask.voxels) + finding.mask.origin
    return in_order(indices @ volume.affine[:3, :3].T + volume.affine[:3, 3])


def in_order(positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rounded = np.round(positions, 2) + 0.0
    return positions[np.lexsort(rounded.T)]


def _ellipsoid(shape: tuple[int, ...], place: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    voxels = np.zeros(shape, bool)
    low = np.maximum(np.floor(place).astype(int) - 10, 0)
    window = tuple(slice(a, min(a + 21, n)) for a, n in zip(low.tolist(), shape, strict=True))
    slices, rows, columns = np.indices(voxels[window].shape) + low.reshape(3, 1, 1, 1)
    z, y, x = (slices - place[0]) / 2.2, (rows - place[1]) / 4.4, (columns - place[2]) / 6.4
    lopsided = x + 0.25 * y * np.sign(z)  # no symmetry a flip could hide behind
    voxels[window] = z * z + y * y + lopsided * lopsided <= 1
    return voxels
