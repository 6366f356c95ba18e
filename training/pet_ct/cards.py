"""The card of the network: what it takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.readers.pet_ct import CROP, CROP_MM, HISTOLOGY, HOT_SPOTS, NAME
from training.pet_ct.network import CT_INTENSITY, PET_INTENSITY
from training.pet_ct.spots import HISTOLOGIES, KINDS, LEAST_ML, LEAST_SUV, MOST
from training.phantoms.hot_lesions import SITES

_SITE_CODES = {
    "lung": ("SCT", "39607008", "Lung"),
    "node": ("SCT", "59441001", "Lymph node"),
    "bone": ("SCT", "272673000", "Bone"),
    "soft tissue": ("SCT", "87784001", "Soft tissue"),
}
# PS3.16 CID 639, Tumor Graft Histologic Type
_HISTOLOGY_CODES = {
    "adenocarcinoma": ("SCT", "1187332001", "Adenocarcinoma"),
    "small cell carcinoma": ("SCT", "74364000", "Small cell carcinoma"),
    "large cell carcinoma": ("SCT", "22687000", "Large cell carcinoma"),
    "squamous cell carcinoma": ("SCT", "1162767002", "Squamous cell carcinoma"),
}
_ON_PHANTOMS = "overread train pet-ct --layout phantom"
_SEEN_NONE = (
    "Has seen no real patient; malignancy is that of phantoms whose cancers are on average hotter, "
    "larger and less even than their inflammation, and of nothing else."
)
_SEEN_SOME = (
    "What is benign it knows from phantoms alone. Real cancers are those that somebody boxed; a hot spot "
    "without a box was learned from only where it is faint or far from the lungs: of hot organs in the "
    "chest, and of nodes, it knows what phantoms show."
)
_UNTYPED = (
    "The type it gives is where a lesion lies (lung, node, bone, soft tissue). It knows no "
    "histology: phantoms cannot teach it."
)
_TYPED = (
    "The histology is a guess at the patient's, from uptake and density: it comes in the shares of the data "
    "learned from, whose rare types are hardly ever said, and is no substitute for a biopsy."
)


def learned_data(phantoms: int, data_set: str = "", patients: int = 0) -> list[dict[str, Any]]:
    """What a run learned from, as a card says it. patients: real ones, of ``data_set``."""
    learned: list[dict[str, Any]] = [
        {
            "name": "PET/CT phantoms",
            "kind": "phantom",
            "cases": phantoms,
            "license": "Apache-2.0",
            "description": "procedural patients" + ("" if patients else "; no real one took part"),
        }
    ]
    if patients:
        site = {"name": data_set, "kind": "real", "cases": patients, "license": "as the data set's"}
        described = "patients of the split train: hot spots in boxes, and those that are faint or far off"
        learned.append(site | {"description": described})
    return learned


def hot_spots_card(
    version: int,
    lesion: float,
    report: float,
    data: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    *,
    typed: bool = False,
) -> dict[str, Any]:
    """``model.yaml``, its weights' hash still missing. data: what the weights learned from. typed: whether
    they say histologies."""
    real = [part["name"] for part in data if part["kind"] == "real"]
    earlier = any("these go on from" in part["description"] for part in data)
    command = f"overread train pet-ct --layout {real[0]} --data DIR" if typed else _ON_PHANTOMS
    dims = [-1, 1, *CROP]
    shapes = {"min": [1, *dims[1:]], "opt": [16, *dims[1:]], "max": [64, *dims[1:]]}

    def image(tensor: str, units: str, intensity: dict[str, Any], description: str) -> dict[str, Any]:
        return {
            "tensor": tensor,
            "dims": dims,
            "axes": ["batch", "channel", "slice", "row", "column"],
            "orientation": "LPS",
            "spacing_mm": [CROP_MM] * 3,
            "units": units,
            "intensity": intensity,
            "shapes": shapes,
            "description": description,
        }

    return {
        "name": HOT_SPOTS,
        "version": version,
        "task": "Says of a hot spot on FDG PET/CT whether it is physiological, benign or malignant",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": [
            image(
                "pet",
                "SUV",
                PET_INTENSITY.model_dump(mode="json"),
                "the hot spot in the middle; 0 beyond the scan",
            ),
            image("ct", "HU", CT_INTENSITY.model_dump(mode="json"), "the same place; air beyond the scan"),
            image("region", "1 inside", {}, "the hot spot's own region, 0 to 1"),
        ],
        "outputs": [
            {
                "tensor": "kind",
                "dims": [-1, len(KINDS)],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    {
                        "label": kind,
                        "scheme": "99OVERREAD",
                        "value": kind.upper(),
                        "meaning": f"{kind.capitalize()} uptake",
                    }
                    for kind in KINDS
                ],
                "description": "what takes up tracer there",
            },
            {
                "tensor": "site",
                "dims": [-1, len(SITES)],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    dict(
                        zip(("label", "scheme", "value", "meaning"), (site, *_SITE_CODES[site]), strict=True)
                    )
                    for site in SITES
                ],
                "description": "where a lesion there lies",
            },
            *([_histology()] if typed else []),
        ],
        "operating_points": {
            "lesion": {"threshold": lesion, "chosen_for": "95 % of lesions are called no physiology"},
            "report": {"threshold": report, "chosen_for": "80 % of cancers; as likely cancer it is reported"},
        },
        "postprocess": {"least_suv": LEAST_SUV, "least_ml": LEAST_ML, "most_hot_spots": float(MOST)},
        "parity": {"absolute": 1e-3, "relative": 1e-3},
        "batching": {"max": 64, "preferred": [16]},
        "training_data": list(data),
        "training_command": f"{command} --from EARLIER" if earlier else command,
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader pet-ct on FDG PET/CT of adult chests",
        "limits": [
            "Not a medical device: for research, every result unverified.",
            _SEEN_SOME if real else _SEEN_NONE,
            _TYPED if typed else _UNTYPED,
            "The phantoms reach from the kidneys to the neck; brain, bladder and legs are hardly known "
            "to it.",
            "What is less than 2.2 SUV after 6 mm of smoothing, or less than half as hot again as what lies "
            "round it, is not looked at: small lesions of low uptake are missed.",
            "FDG only: other tracers have another physiology. A PET that names one is not read; where it "
            "names none, the reading says that FDG was assumed.",
        ],
    }


def _histology() -> dict[str, Any]:
    return {
        "tensor": HISTOLOGY,
        "dims": [-1, len(HISTOLOGIES)],
        "kind": "probability",
        "activation": "softmax",
        "labels": [
            dict(
                zip(
                    ("label", "scheme", "value", "meaning"),
                    (histology, *_HISTOLOGY_CODES[histology]),
                    strict=True,
                )
            )
            for histology in HISTOLOGIES
        ],
        "description": "of which type a cancer there is",
    }
