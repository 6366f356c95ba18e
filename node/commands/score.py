"""`overread score`: the command line of the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Score anyone's results by the field's own metrics.",
    epilog="Example: overread score auroc --truth labels.csv --results results.csv",
)

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every figure here, too.")]
Pictures = Annotated[Path | None, typer.Option(metavar="DIR", help="Draw the curves into this folder.")]
Resamples = Annotated[int, typer.Option(min=0, help="Resamples for the 95 % limits.")]


def _given(what: str) -> Any:
    return typer.Option(exists=True, help=what)


@app.command(
    epilog="Example: overread score luna16 --annotations annotations.csv --excluded annotations_excluded.csv "
    "--seriesuids seriesuids.csv --results results.csv"
)
def luna16(
    annotations: Annotated[Path, _given("annotations.csv, as released.")],
    excluded: Annotated[Path, _given("annotations_excluded.csv, as released.")],
    seriesuids: Annotated[Path, _given("seriesuids.csv; every series counts, marked or not.")],
    results: Annotated[Path, _given("seriesuid,coordX,coordY,coordZ,probability")],
    json: Json = None,
    pictures: Pictures = None,
    resamples: Resamples = 1000,
) -> None:
    """FROC and CPM as the official script computes them."""
    from node.commands.training import score

    score(
        "luna16",
        json,
        pictures,
        annotations=annotations,
        excluded=excluded,
        seriesuids=seriesuids,
        results=results,
        resamples=resamples,
    )


@app.command(epilog="Example: overread score node21 --annotations metadata.csv --results results.csv")
def node21(
    annotations: Annotated[Path, _given("metadata.csv: img_name,x,y,width,height,label")],
    results: Annotated[Path, _given("img_name,x,y,width,height,probability")],
    json: Json = None,
    pictures: Pictures = None,
) -> None:
    """0.75 AUROC of images and 0.25 sensitivity at 0.25 false positives per image, IoU above 0.2."""
    from node.commands.training import score

    score("node21", json, pictures, annotations=annotations, results=results)


@app.command(epilog="Example: overread score deeplesion --annotations DL_info.csv --results results.csv")
def deeplesion(
    annotations: Annotated[Path, _given("DL_info.csv, or the rows of it to be scored.")],
    results: Annotated[Path, _given("File_name,x1,y1,x2,y2,score (pixels)")],
    overlap: Annotated[Literal["iou", "iobb"], typer.Option(help="Above 0.5 is a hit.")] = "iou",
    json: Json = None,
    pictures: Pictures = None,
    resamples: Resamples = 1000,
) -> None:
    """Sensitivity at 0.5, 1, 2 and 4 false positives per key slice."""
    from node.commands.training import score

    score(
        "deeplesion",
        json,
        pictures,
        annotations=annotations,
        results=results,
        overlap_rule=overlap,
        resamples=resamples,
    )


@app.command(epilog="Example: overread score volumes --annotations boxes.csv --results results.csv")
def volumes(
    annotations: Annotated[Path, _given("volume,x1,y1,z1,x2,y2,z2; corners empty where nothing is.")],
    results: Annotated[Path, _given("volume,x1,y1,z1,x2,y2,z2,score")],
    overlap: Annotated[
        Literal["iou", "iobb", "center"], typer.Option(help="center: the found centre lies in the box.")
    ] = "iou",
    above: Annotated[float, typer.Option(min=0, max=1, help="Overlap that makes a hit.")] = 0.5,
    json: Json = None,
    pictures: Pictures = None,
    resamples: Resamples = 1000,
) -> None:
    """Boxes in volumes: sensitivity at 1/8 to 8 false positives per volume."""
    from node.commands.training import score

    score(
        "volumes",
        json,
        pictures,
        annotations=annotations,
        results=results,
        overlap_rule=overlap,
        above=above,
        resamples=resamples,
    )


@app.command(epilog="Example: overread score dice --truth masks/ --results predictions/")
def dice(
    truth: Annotated[Path, _given("A folder of masks, or an NPZ file.")],
    results: Annotated[Path, _given("The same names: masks, or probabilities as grey levels.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Of results: above it is inside.")] = 0.5,
    group: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, help="name,group: masks to resample together."),
    ] = None,
    json: Json = None,
    pictures: Pictures = None,
) -> None:
    """Mean of each image's own Dice and IoU, as for Kvasir-SEG."""
    from node.commands.training import score

    score("dice", json, pictures, truth=truth, results=results, threshold=threshold, group=group)


@app.command(epilog="Example: overread score auroc --truth labels.csv --results results.csv --group patient")
def auroc(
    truth: Annotated[Path, _given("A name, then 1, 0 or nothing (unknown) per class.")],
    results: Annotated[Path, _given("The same names and classes, with probabilities.")],
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the truth: cases to resample together.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="For sensitivity, specificity and precision.")] = 0.5,
    json: Json = None,
    pictures: Pictures = None,
    resamples: Resamples = 1000,
) -> None:
    """AUROC per class and mean with limits, rates at a threshold, calibration."""
    from node.commands.training import score

    score(
        "auroc",
        json,
        pictures,
        truth=truth,
        results=results,
        group=group,
        threshold=threshold,
        resamples=resamples,
    )


@app.command(epilog="Example: overread score classes --truth labels.csv --results results.csv")
def classes(
    truth: Annotated[Path, _given("name,label")],
    results: Annotated[Path, _given("name, and a probability per label")],
    json: Json = None,
    pictures: Pictures = None,
) -> None:
    """Accuracy and confusion matrix of one class out of several."""
    from node.commands.training import score

    score("classes", json, pictures, truth=truth, results=results)


@app.command(epilog="Example: overread score registration --fixed fixed.csv --moved moved.csv")
def registration(
    fixed: Annotated[Path, _given("Landmarks: name,x,y,z in mm.")],
    moved: Annotated[Path, _given("Where the registration puts the same names.")],
    field: Annotated[
        Path | None,
        typer.Option(exists=True, help="NPZ: displacement_mm and spacing_mm; label images fixed and moved."),
    ] = None,
    json: Json = None,
) -> None:
    """Target registration error, folding of the field, Dice of structures."""
    from node.commands.training import score

    score("registration", json, None, fixed=fixed, moved=moved, field=field)
