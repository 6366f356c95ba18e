"""The cards of the networks: what they take, what they say, what they learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.readers.chest_xray import FINDINGS, HEART, LUNGS, NAME
from inference.readers.radiograph import FINDINGS_SIZE, HEART_SIZE, LUNGS_SIZE
from training.chest_xray.scattering import FINE
from training.datasets.chest_labels import CLASSES

_CODES = {
    "cardiomegaly": ("SCT", "8186001", "Cardiomegaly"),
    "effusion": ("SCT", "60046008", "Pleural effusion"),
    "atelectasis": ("SCT", "46621007", "Atelectasis"),
    "consolidation": ("SCT", "95436008", "Lung consolidation"),
    "edema": ("SCT", "19242006", "Pulmonary edema"),
    "no_finding": ("SCT", "17621005", "Normal"),
}
_RESEARCH = "Not a medical device: for research, every result unverified."
_ADULTS = (
    "Adults, frontal views; lateral, oblique and decubitus views are refused, children were not among them."
)
_NIH_CONFOUNDED = (
    "Nearly every positive in the training images carries the label pneumonia too, and views differ between "
    "positives and negatives: being ill and the view explain a part of the figures. Those within one view, "
    "among the ill alone, and of somebody told the view alone are given beside the whole."
)
_CLOSE_UP = "the box around the lungs, clipped at its 2nd and 98th percentile, standardised"
_PHANTOMS = "Overread radiograph phantoms"
_ON_PHANTOMS = "Has seen no real picture; a site that trains it on its own pictures gets another network."
_TRUST = (
    "Two answers in one: of filters fitted on the radiographs, and of a network that learned from phantoms. "
    "How far the first are believed is read off the picture's grain, which tells most radiographs from "
    "phantoms: figures on phantoms say nothing of films, and a film of unusual grain may be answered by "
    "what phantoms taught."
)
_NIH_FOLDERS = {"cxr_nih", "cxr_nih_more"}
_V7_FOLDERS = {"cxr_lungmask"}
_V7_WORST = (
    "On patients not learned from, a lung that is white throughout is drawn too small, and the left one too "
    "far down where its lower border is hidden; on patients lying down more than on upright ones."
)


@dataclass(frozen=True)
class LearnedFrom:
    """Radiographs that a network learned from, and the folders of one layout that hold them."""

    layout: str
    folders: tuple[str, ...]
    cases: int
    patients: int

    @property
    def name(self) -> str:
        return f"{self.layout}: {', '.join(self.folders)}" if self.folders else _PHANTOMS


@dataclass(frozen=True)
class Data:
    """What the classifier learned from: radiographs with labels, those that show it where the lungs are, and
    ``phantoms`` beside them; and the ``architecture`` that it has."""

    labelled: LearnedFrom
    masks: LearnedFrom
    architecture: str = "cnn"
    phantoms: int = 0


def _drawn(cases: int) -> dict[str, Any]:
    return {
        "name": _PHANTOMS,
        "kind": "phantom",
        "cases": cases,
        "license": "Apache-2.0",
        "description": "procedural: chests projected with findings, devices and exposures of two views",
    }


def _labelled(learned: LearnedFrom, architecture: str) -> dict[str, Any]:
    if learned.layout == "phantom":
        return _drawn(learned.cases)
    licence = "as the data set's"
    if learned.layout.startswith("nih"):
        licence = (
            "no restrictions; NIH Clinical Center, Wang et al., CVPR 2017, "
            "https://nihcc.app.box.com/v/ChestXray-NIHCC"
        )
    part = ", the release's split train"
    if learned.layout == "nih":
        part = ", but for the patients of the split test" if architecture == "cnn" else ""
    return {
        "name": learned.name,
        "kind": "real",
        "cases": learned.cases,
        "license": licence,
        "description": f"frontal radiographs with labels mined from reports{part}",
    }


def _masked(learned: LearnedFrom) -> dict[str, Any]:
    if learned.layout == "phantom":
        return _drawn(learned.cases)
    name, licence, description = learned.name, "as the data set's", "chest radiographs with lung masks"
    if set(learned.folders) <= _V7_FOLDERS:
        name = (
            f"{learned.cases} chest radiographs with lung masks, of {learned.patients} patients (ieee8023 "
            "collection, V7 masks)"
        )
        licence = "CC BY 3.0, CC BY 4.0, CC BY-SA, Apache-2.0"
        description = "mostly COVID-19; masks hold the lung behind the heart"
    return {
        "name": name,
        "kind": "real",
        "cases": learned.cases,
        "license": licence,
        "description": description,
    }


def _command(layout: str, architecture: str) -> str:
    data = "" if layout == "phantom" else " --data DIR"
    other = "" if architecture == "cnn" else f" --architecture {architecture}"
    return f"overread train chest-xray{data} --layout {layout}{other}"


def _label(code: tuple[str, str, str], label: str) -> dict[str, str]:
    return {"label": label, "scheme": code[0], "value": code[1], "meaning": code[2]}


def _input(size: int, description: str) -> list[dict[str, Any]]:
    return [
        {
            "tensor": "picture",
            "dims": [1, 1, size, size],
            "axes": ["batch", "channel", "row", "column"],
            "units": "standard deviations",
            "description": description,
        }
    ]


def lungs_card(
    version: int,
    masks: LearnedFrom,
    layout: str,
    architecture: str = "cnn",
    before: Sequence[Mapping[str, Any]] = (),
    *,
    phantoms: int = 0,
) -> dict[str, Any]:
    """``model.yaml`` of the network that draws the lungs, its figures and its weights' hash still missing.

    layout, architecture: of what the findings learn from and by, which one command trains. before: what the
    weights that these go on from had learned from. phantoms: how many it learned from beside radiographs.
    """
    is_v7 = bool(masks.folders) and set(masks.folders) <= _V7_FOLDERS
    what = "phantoms" if masks.layout == "phantom" else "radiographs"
    of = ", mostly of COVID-19" if is_v7 else ""
    beside = f", and {phantoms} phantoms" if phantoms else ""
    earlier = ", and from what the weights that it went on from had" if before else ""
    return {
        "name": LUNGS,
        "version": version,
        "task": "Draws the right and the left lung on a frontal chest radiograph",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": _input(
            LUNGS_SIZE,
            "the whole picture in a black square, clipped at its 2nd and 98th percentile, standardised",
        ),
        "outputs": [
            {
                "tensor": "lungs",
                "dims": [1, 2, LUNGS_SIZE, LUNGS_SIZE],
                "kind": "mask",
                "activation": "sigmoid",
                "labels": [
                    _label(("SCT", "3341006", "Right lung"), "right lung"),
                    _label(("SCT", "44029006", "Left lung"), "left lung"),
                ],
                "description": "probability of lying in the patient's right lung, in the left one",
            }
        ],
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": [_masked(masks), *([_drawn(phantoms)] if phantoms else []), *before],
        "training_command": _command(layout, architecture),
        "metrics": [],
        "intended_use": "Lung fields of adult frontal chest radiographs, and the place to look for findings",
        "limits": [
            _RESEARCH,
            f"Learned from {masks.cases} {what}{of}{beside}{earlier}, drawn at {LUNGS_SIZE} x {LUNGS_SIZE}: "
            "borders are coarse.",
            *([_V7_WORST] if is_v7 else []),
            "On a picture that is upside down, on its side or has black for white no lungs are drawn, and it "
            "is refused.",
            "The masks hold the lung behind the heart.",
            _ADULTS,
        ],
    }


def heart_card(
    version: int,
    cases: int,
    layout: str,
    architecture: str = "cnn",
    before: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``model.yaml`` of the network that draws the heart, its figures and its weights' hash still missing.

    cases: phantoms that it learned from. layout, architecture, before: as for ``lungs_card``.
    """
    return {
        "name": HEART,
        "version": version,
        "task": "Draws the heart on a frontal chest radiograph",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": _input(HEART_SIZE, _CLOSE_UP),
        "outputs": [
            {
                "tensor": "heart",
                "dims": [1, 1, HEART_SIZE, HEART_SIZE],
                "kind": "mask",
                "activation": "sigmoid",
                "labels": [_label(("SCT", "80891009", "Heart"), "heart")],
                "description": "probability of lying in the silhouette of the heart, great vessels left out",
            }
        ],
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": [_drawn(cases), *before],
        "training_command": _command(layout, architecture),
        "metrics": [],
        "intended_use": "The heart of adult frontal chest radiographs, for the cardiothoracic ratio",
        "limits": [
            _RESEARCH,
            f"Has seen no real heart: learned from {cases} phantoms, drawn at {HEART_SIZE} x {HEART_SIZE}, "
            "shown in many ways; on films its outlines have not been measured.",
            "Where the heart's border is hidden, as by fluid or a lobe without air, it is guessed, or no "
            "heart and no ratio are given; a pad of fat counts to the heart.",
            "On AP views, and of patients lying down, turned or breathing out, the ratio is exaggerated.",
            _ADULTS,
        ],
    }


def findings_card(
    version: int,
    points: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    data: Data,
    before: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``model.yaml`` of the classifier, its weights' hash still missing.

    points: the operating points. before: what the weights that these go on from had learned from.
    """
    labelled, masks = data.labelled, data.masks
    learned_from = (
        f"Learned from {labelled.cases} radiographs whose labels were mined from reports and err about "
        "one time in ten; a site's own labelled images will do better."
    )
    on_phantoms = labelled.layout == "phantom"
    seen = [
        _labelled(labelled, data.architecture),
        *([_drawn(data.phantoms)] if data.phantoms and not on_phantoms else []),
        *([_masked(masks)] if masks.layout != "phantom" else []),
    ]
    labels = [_label(_CODES[name], name) for name in CLASSES]
    return {
        "name": FINDINGS,
        "version": version,
        "task": "Probabilities of findings on a frontal chest radiograph, and where the evidence lies",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": _input(FINDINGS_SIZE, _CLOSE_UP),
        "outputs": [
            {
                "tensor": "probability",
                "dims": [1, len(CLASSES)],
                "kind": "probability",
                "activation": "sigmoid",
                "labels": labels,
                "description": "of each class by itself; they do not add up to one",
            },
            {
                "tensor": "evidence",
                "dims": [1, len(CLASSES), FINE, FINE],
                "kind": "heatmap",
                "stride": FINDINGS_SIZE // FINE,
                "labels": labels,
                "description": "what each place adds to the logit",
            },
        ],
        "operating_points": {name: dict(point) for name, point in points.items()},
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": [*seen, *before],
        "training_command": _command(labelled.layout, data.architecture),
        "metrics": list(metrics),
        "intended_use": "A first impression of adult frontal chest radiographs, for research",
        "limits": [
            _RESEARCH,
            _ON_PHANTOMS if on_phantoms else learned_from,
            *([_TRUST] if data.architecture == "scattering" and not on_phantoms else []),
            *([_NIH_CONFOUNDED] if not on_phantoms and set(labelled.folders) <= _NIH_FOLDERS else []),
            _ADULTS,
            "Absent and undetermined rest on few positives; nothing but the classes is looked for, so no "
            "answer calls a study normal.",
        ],
    }
