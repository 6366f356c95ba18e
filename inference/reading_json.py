"""A reading as JSON, and on disk: ``reading.json`` with its masks beside it in ``masks.npz``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from inference.findings import (
    Assessment,
    Axis,
    Caveat,
    Change,
    ClassProbability,
    Code,
    Finding,
    Mask,
    Measurement,
    Model,
    Point,
    Reading,
    Response,
    Segment,
    SolidPart,
    Uptake,
)

Masks = Mapping[str, Mask]


def to_json(reading: Reading) -> dict[str, Any]:
    """The body documented as one entry of ``readings`` in ``reading.json``; masks are left out."""
    return {
        "reader": reading.reader,
        "series_uid": reading.series_uid,
        "model": asdict(reading.model),
        "models": [asdict(model) for model in reading.models],
        "findings": [_finding_to_json(finding) for finding in reading.findings],
        "classes": [class_to_json(found) for found in reading.classes],
        "segments": [_segment_to_json(segment) for segment in reading.segments],
        "seconds": dict(reading.seconds),
        "resolved": [_finding_to_json(finding) for finding in reading.resolved],
        "response": asdict(reading.response) if reading.response else None,
        "comparison_notes": list(reading.comparison_notes),
        "left_to": list(reading.left_to),
        "image_uids": list(reading.image_uids),
        "assessments": [asdict(each) for each in reading.assessments],
        "caveats": [asdict(each) for each in reading.caveats],
        "measurements": [_measurement_to_json(each) for each in reading.measurements],
    }


def from_json(body: Mapping[str, Any], masks: Masks | None = None) -> Reading:
    """The inverse of :func:`to_json`; ``masks`` are named ``finding/0``, ``segment/0``, ..."""
    masks = masks or {}
    return Reading(
        reader=body["reader"],
        series_uid=body["series_uid"],
        models=tuple(Model(**model) for model in body["models"]),
        findings=tuple(_finding(f, masks.get(f"finding/{n}")) for n, f in enumerate(body["findings"])),
        classes=tuple(map(class_from_json, body["classes"])),
        segments=tuple(
            Segment(s["label"], Code(**s["code"]), s["volume_mm3"], s["area_mm2"], masks.get(f"segment/{n}"))
            for n, s in enumerate(body["segments"])
        ),
        seconds=body["seconds"],
        resolved=tuple(
            _finding(f, masks.get(f"resolved/{n}")) for n, f in enumerate(body.get("resolved", ()))
        ),
        response=_response(body.get("response")),
        comparison_notes=tuple(body.get("comparison_notes", ())),
        left_to=tuple(body.get("left_to", ())),
        image_uids=tuple(body.get("image_uids", ())),
        assessments=_assessments(body),
        caveats=tuple(Caveat(**each) for each in body.get("caveats", ())),
        measurements=tuple(_measurement(each) for each in body.get("measurements", ())),
    )


def class_to_json(found: ClassProbability) -> dict[str, Any]:
    """One entry of ``classes``, with what follows from its operating points."""
    return asdict(found) | {"presence": found.presence, "caveat": found.caveat}


def class_from_json(body: Mapping[str, Any]) -> ClassProbability:
    """The inverse of :func:`class_to_json`, of readings kept by earlier versions too."""
    return ClassProbability(
        body["label"],
        Code(**body["code"]),
        body["probability"],
        body.get("present_from"),
        body.get("absent_below"),
    )


def save(reading: Reading, folder: Path) -> None:
    """Write ``reading.json`` and ``masks.npz`` into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, mask in _masks(reading):
        arrays[f"{name}/bits"] = np.packbits(mask.voxels)
        arrays[f"{name}/box"] = np.array([mask.origin, mask.voxels.shape])
    np.savez_compressed(folder / "masks.npz", allow_pickle=False, **arrays)
    (folder / "reading.json").write_text(json.dumps(to_json(reading), indent=1))


def load(folder: Path) -> Reading:
    """Read back what :func:`save` wrote."""
    masks: dict[str, Mask] = {}
    with np.load(folder / "masks.npz") as arrays:
        for name in sorted({key.rsplit("/", 1)[0] for key in arrays.files}):
            origin, shape = arrays[f"{name}/box"]
            voxels = np.unpackbits(arrays[f"{name}/bits"], count=int(np.prod(shape))).reshape(shape)
            masks[name] = Mask((int(origin[0]), int(origin[1]), int(origin[2])), voxels.astype(bool))
    return from_json(json.loads((folder / "reading.json").read_text()), masks)


def _masks(reading: Reading) -> Iterator[tuple[str, Mask]]:
    for number, finding in enumerate(reading.findings):
        if finding.mask is not None:
            yield f"finding/{number}", finding.mask
    for number, finding in enumerate(reading.resolved):
        if finding.mask is not None:
            yield f"resolved/{number}", finding.mask
    for number, segment in enumerate(reading.segments):
        if segment.mask is not None:
            yield f"segment/{number}", segment.mask


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    body = _in_millimetres(finding)
    if not finding.in_pixels:
        return body
    lengths = {"long_axis_px": finding.long_axis_mm, "short_axis_px": finding.short_axis_mm}
    unknown = dict.fromkeys(("long_axis_mm", "short_axis_mm", "volume_mm3"))
    place = {"center_px": body.pop("center_mm")[:2], "box_px": [corner[:2] for corner in body.pop("box_mm")]}
    return place | body | unknown | lengths | {"area_px": finding.volume_mm3}


def _in_millimetres(finding: Finding) -> dict[str, Any]:
    return {
        "label": finding.label,
        "code": asdict(finding.code),
        "center_mm": list(finding.center_mm),
        "box_mm": [list(corner) for corner in finding.box_mm],
        "image_uid": finding.image_uid,
        "frame": finding.frame,
        "score": finding.score,
        "long_axis_mm": finding.long_axis_mm,
        "short_axis_mm": finding.short_axis_mm,
        "long_axis": [list(finding.long_axis.start), list(finding.long_axis.end)],
        "short_axis": [list(finding.short_axis.start), list(finding.short_axis.end)],
        "volume_mm3": finding.volume_mm3,
        "mean_hu": finding.mean_hu,
        "malignancy": finding.malignancy,
        "kind": finding.kind,
        "site": asdict(finding.site) if finding.site else None,
        "side": finding.side,
        "uptake": asdict(finding.uptake) if finding.uptake else None,
        "solid": asdict(finding.solid) if finding.solid else None,
        "assessments": [asdict(each) for each in finding.assessments],
        "interpolated": finding.interpolated,
        "cut": finding.cut,
        "by_look": finding.by_look,
        "tracking_uid": finding.tracking_uid,
        "change": asdict(finding.change) if finding.change else None,
    }


def _finding(body: Mapping[str, Any], mask: Mask | None) -> Finding:
    in_pixels = "center_px" in body
    center, (low, high) = (
        ((*body["center_px"], 0.0), [(*corner, 0.0) for corner in body["box_px"]])
        if in_pixels
        else (body["center_mm"], body["box_mm"])
    )
    change = body["change"] or {}
    solid = body.get("solid") or change.get("solid")
    return Finding(
        label=body["label"],
        code=Code(**body["code"]),
        center_mm=_point(center),
        box_mm=(_point(low), _point(high)),
        image_uid=body["image_uid"],
        frame=body["frame"],
        score=body["score"],
        long_axis=Axis(*map(_point, body["long_axis"])),
        short_axis=Axis(*map(_point, body["short_axis"])),
        volume_mm3=body["area_px"] if in_pixels else body["volume_mm3"],
        mean_hu=body["mean_hu"],
        malignancy=body["malignancy"],
        kind=body.get("kind"),
        site=Code(**body["site"]) if body.get("site") else None,
        side=body.get("side"),
        uptake=Uptake(**body["uptake"]) if body.get("uptake") else None,
        solid=SolidPart(**solid) if solid else None,
        assessments=_assessments(body) or _assessments(change),
        interpolated=body.get("interpolated", 0.0),
        cut=body.get("cut", False),
        by_look=body.get("by_look", False),
        tracking_uid=body["tracking_uid"],
        change=_change(change),
        in_pixels=in_pixels,
        mask=mask,
    )


def _assessments(body: Mapping[str, Any]) -> tuple[Assessment, ...]:
    return tuple(Assessment(**each) for each in body.get("assessments", ()))


def _change(body: Mapping[str, Any]) -> Change | None:
    """In readings kept by earlier versions a change had the finding's assessments and solid part."""
    if not body:
        return None
    places = {
        name: _point(body[name])
        for name in ("prior_center_mm", "aligned_center_mm")
        if body.get(name) is not None
    }
    prior_solid = SolidPart(**body["prior_solid"]) if body.get("prior_solid") else None
    known = {name: value for name, value in body.items() if name not in ("assessments", "solid")}
    return Change(**{**known, **places, "prior_solid": prior_solid})


def _response(body: Mapping[str, Any] | None) -> Response | None:
    if not body:
        return None
    lesions = ("targets", "new_lesions", "doubtful", "others")
    return Response(**{**body, **{name: tuple(body.get(name, ())) for name in lesions}})


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {
        "label": segment.label,
        "code": asdict(segment.code),
        "volume_mm3": segment.volume_mm3,
        "area_mm2": segment.area_mm2,
    }


def _measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    body = asdict(measurement)
    body["lines_px"] = [[line["start"][:2], line["end"][:2]] for line in body.pop("lines")]
    return body


def _measurement(body: Mapping[str, Any]) -> Measurement:
    known = {name: value for name, value in body.items() if name != "lines_px"}
    lines = tuple(Axis(_point((*start, 0.0)), _point((*end, 0.0))) for start, end in body["lines_px"])
    site = Code(**body["site"]) if body["site"] else None
    return Measurement(**{**known, "code": Code(**body["code"]), "site": site, "lines": lines})


def _point(values: Any) -> Point:
    x, y, z = values
    return (float(x), float(y), float(z))
