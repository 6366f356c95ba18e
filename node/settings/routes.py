"""Which reader takes what, as long as a site says nothing else.

A CT of the chest alone goes to lung-nodules only; ct-lesions reads every CT that goes beyond it, and those of
no named part. What lung-nodules reports, ct-lesions leaves out.
"""

from __future__ import annotations

from node.settings import RouteSettings

_CHEST = r"chest|thorax|thorac|lung|pulm|nodule|\bch/|\bcap\b|nlst"
_CHEST_ONLY = r"\s*(chest|thorax|lungs?)\s*"
_BELOW = r"abd|pel|liver|renal|kidney|body|trunk|torso|\bcap\b|\btap\b|t/a|c/a"
_NOT_BODY = r"head|brain|skull|neck|sinus|orbit|dental|face|knee|hand|wrist|foot|ankle|elbow"

DEFAULT_ROUTES: tuple[RouteSettings, ...] = tuple(
    RouteSettings.model_validate({"reader": reader, "match": match})
    for reader, match in (
        ("lung-nodules", {"Modality": "CT", "BodyPartExamined": f"~{_CHEST}|whole ?body"}),
        ("lung-nodules", {"Modality": "CT", "BodyPartExamined": "", "StudyDescription": f"~{_CHEST}|^$"}),
        ("lung-nodules", {"Modality": "CT", "BodyPartExamined": "", "SeriesDescription": f"~{_CHEST}"}),
        (
            "lung-nodules",
            {"Modality": "CT", "BodyPartExamined": f"~{_BELOW}", "StudyDescription": f"~{_CHEST}"},
        ),
        ("ct-lesions", {"Modality": "CT", "BodyPartExamined": f"~^(?!.*({_NOT_BODY})|{_CHEST_ONLY}$).+"}),
        (
            "ct-lesions",
            {"Modality": "CT", "BodyPartExamined": f"~^({_CHEST_ONLY})?$", "StudyDescription": f"~{_BELOW}"},
        ),
        (
            "ct-lesions",
            {
                "Modality": "CT",
                "BodyPartExamined": "",
                "StudyDescription": f"~^(?!.*({_CHEST}|{_NOT_BODY}))",
                "SeriesDescription": f"~^(?!.*({_CHEST}|{_NOT_BODY}))",
            },
        ),
        ("chest-xray", {"Modality": ["CR", "DX"], "BodyPartExamined": "~chest|thorax|lung"}),
        *(
            (
                "chest-xray",
                {"Modality": ["CR", "DX"], "BodyPartExamined": "", keyword: "~chest|thorax|lung|cxr"},
            )
            for keyword in ("SeriesDescription", "StudyDescription", "ProtocolName")
        ),
        ("polyps", {"Modality": "ES"}),
        ("polyps", {"Modality": ["OT", "XC", "SC"], "StudyDescription": "~colono|endosc|polyp"}),
        ("pet-ct", {"Modality": "PT"}),
    )
)
