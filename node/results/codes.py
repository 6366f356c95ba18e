"""Every coded concept a result object carries, once: scheme, value, meaning and where it comes from.

The meaning is the one PS3.16 prints for the code. A code that is not in PS3.16 names its own source.
Context groups are those of 2022, which the validators hold reports to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from highdicom.sr import CodedConcept

from inference.findings import Category, Code, Presence, Side
from inference.growth import lung_rads

PS3_16 = "PS3.16"
SNOMED = "SNOMED CT International Edition"
LOINC = "LOINC"
UCUM = "UCUM"
OWN = "docs/conformance.md"
OWN_SCHEME = "99OVERREAD"


@dataclass(frozen=True)
class Term:
    """A row of the table. ``source``: the publication in which the code and its meaning can be looked up."""

    scheme: str
    value: str
    meaning: str
    source: str = PS3_16

    @property
    def concept(self) -> CodedConcept:
        return CodedConcept(self.value, self.scheme, self.meaning)

    @property
    def code(self) -> Code:
        return Code(self.scheme, self.value, self.meaning)


# What was found (PS3.3 Segmented Property Type, TID 1500 Finding)
PULMONARY_NODULE = Term("SCT", "786838002", "Pulmonary nodule", SNOMED)
NODULE = Term("SCT", "27925004", "Nodule")
LESION = Term("SCT", "52988006", "Lesion")
POLYP_OF_COLON = Term("SCT", "68496003", "Polyp of colon")
PLEURAL_EFFUSION = Term("SCT", "60046008", "Pleural effusion")
PULMONARY_EDEMA = Term("SCT", "19242006", "Pulmonary edema")
PNEUMOTHORAX = Term("SCT", "36118008", "Pneumothorax")
CARDIOMEGALY = Term("SCT", "8186001", "Cardiomegaly", SNOMED)
ATELECTASIS = Term("SCT", "46621007", "Atelectasis", SNOMED)
LUNG_CONSOLIDATION = Term("SCT", "95436008", "Lung consolidation", SNOMED)
NORMAL = Term("SCT", "17621005", "Normal")

# What kind of nodule, as the characteriser of lung nodules tells them apart
NODULE_TYPE = Term(OWN_SCHEME, "NODULE-TYPE", "Type of pulmonary nodule", OWN)
SOLID = Term(OWN_SCHEME, "SOLID", "Solid", OWN)
PART_SOLID = Term(OWN_SCHEME, "PART-SOLID", "Part solid", OWN)
GROUND_GLASS = Term(OWN_SCHEME, "GROUND-GLASS", "Ground glass", OWN)
CALCIFIED = Term(OWN_SCHEME, "CALCIFIED", "Calcified", OWN)
NODULE_TYPES = {
    "solid": SOLID,
    "part-solid": PART_SOLID,
    "ground-glass": GROUND_GLASS,
    "calcified": CALCIFIED,
}

# Categories of a segment (CID 7150)
MORPHOLOGICALLY_ABNORMAL = Term("SCT", "49755003", "Morphologically Abnormal Structure")
ANATOMICAL_STRUCTURE = Term("SCT", "91723000", "Anatomical Structure")

# Where (CID 4, CID 244)
LUNG = Term("SCT", "39607008", "Lung")
RIGHT_LUNG = Term("SCT", "3341006", "Right lung", SNOMED)
LEFT_LUNG = Term("SCT", "44029006", "Left lung", SNOMED)
HEART = Term("SCT", "80891009", "Heart")
LYMPH_NODE = Term("SCT", "59441001", "Lymph Node")
LIVER = Term("SCT", "10200004", "Liver")
COLON = Term("SCT", "71854001", "Colon")
CHEST = Term("SCT", "51185008", "Chest", "PS3.16 of 2022, CID 4031")  # later 816094009
BONE = Term("SCT", "272673000", "Bone")
ABDOMEN = Term("SCT", "818981001", "Abdomen")
MEDIASTINUM = Term("SCT", "72410000", "Mediastinum")
KIDNEY = Term("SCT", "64033007", "Kidney")
SOFT_TISSUE = Term("SCT", "87784001", "Soft tissue")
PELVIS = Term("SCT", "816092008", "Pelvis")
RIGHT = Term("SCT", "24028007", "Right")
LEFT = Term("SCT", "7771000", "Left")

# How large, how dense, how sure
VOLUME = Term("SCT", "118565006", "Volume")
LONG_AXIS = Term("SCT", "103339001", "Long axis")
SHORT_AXIS = Term("SCT", "103340004", "Short axis")
MEAN_ATTENUATION = Term("DCM", "112181", "Mean Attenuation Coefficient")
SUSPICION = Term(OWN_SCHEME, "SUSPICION", "Suspicion of malignancy, as the network rates it", OWN)
PROBABILITY_OF_CANCER = Term("DCM", "111047", "Probability of cancer")  # in results before 0.2
CERTAINTY_OF_FINDING = Term("DCM", "111012", "Certainty of Finding")
SUV_BODY_WEIGHT = Term("DCM", "126401", "SUVbw")
MAXIMUM = Term("SCT", "56851009", "Maximum")
MEAN = Term("SCT", "373098007", "Mean")
PEAK_WITHIN_ROI = Term("DCM", "126031", "Peak Value Within ROI")
METABOLIC_VOLUME = Term("DCM", "126032", "Metabolic Volume")
NUMBER_OF_LESIONS = Term("SCT", "246206008", "Number of lesions", SNOMED)
TOTAL_LESION_GLYCOLYSIS = Term("DCM", "126033", "Total Lesion Glycolysis")
PROBABILITY = Term("DCM", "122157", "Probability")
CARDIOTHORACIC_RATIO = Term(OWN_SCHEME, "CTR", "Cardiothoracic ratio", OWN)
HEART_WIDTH = Term(OWN_SCHEME, "HEART-WIDTH", "Transverse diameter of the heart", OWN)
CHEST_WIDTH = Term(OWN_SCHEME, "CHEST-WIDTH", "Inner transverse diameter of the chest", OWN)

# Since when
FRACTIONAL_CHANGE = Term("DCM", "125314", "Fractional Change")
DOUBLING_TIME = Term(OWN_SCHEME, "VDT", "Volume doubling time", OWN)
DIFFERENCE_IN_SIZE = Term("SCT", "442714003", "Difference in size")
INCREASE_IN_SIZE = Term("SCT", "15454001", "Increase in size")
DECREASE_IN_SIZE = Term("SCT", "19776001", "Decrease in size")
NO_SIGNIFICANT_CHANGE = Term("SCT", "129723006", "No significant changes in the finding")
NEW_FINDING = Term(OWN_SCHEME, "NEW", "New since the prior study", OWN)  # PS3.16 has one of mammography
CHANGE: dict[Category, Term] = {
    "new": NEW_FINDING,
    "increased": INCREASE_IN_SIZE,
    "stable": NO_SIGNIFICANT_CHANGE,
    "decreased": DECREASE_IN_SIZE,
}

CURRENT_RESPONSE = Term("DCM", "112048", "Current Response")
COMPLETE_RESPONSE = Term("DCM", "112041", "Target Lesion Complete Response")
PARTIAL_RESPONSE = Term("DCM", "112042", "Target Lesion Partial Response")
PROGRESSIVE_DISEASE = Term("DCM", "112043", "Target Lesion Progressive Disease")
STABLE_DISEASE = Term("DCM", "112044", "Target Lesion Stable Disease")
RECIST = Term("DCM", "126081", "RECIST 1.1")
SUM_OF_DIAMETERS = Term(OWN_SCHEME, "SOD", "Sum of diameters of target lesions", OWN)
PRIOR_REPORT = Term("DCM", "122075", "Prior report for current patient")
TARGET_RESPONSES = {
    "CR": COMPLETE_RESPONSE,
    "PR": PARTIAL_RESPONSE,
    "PD": PROGRESSIVE_DISEASE,
    "SD": STABLE_DISEASE,
}
OVERALL_RESPONSE = Term(OWN_SCHEME, "OVERALL", "Overall response of the patient", OWN)
RESPONSES = {
    "CR": Term(OWN_SCHEME, "CR", "Complete response", OWN),
    "PR": Term(OWN_SCHEME, "PR", "Partial response", OWN),
    "PD": Term(OWN_SCHEME, "PD", "Progressive disease", OWN),
    "SD": Term(OWN_SCHEME, "SD", "Stable disease", OWN),
}

# The type of a cancer, where a network says one (CID 639)
ASSOCIATED_MORPHOLOGY = Term("SCT", "116676008", "Associated morphology", SNOMED)
CANCERS = {
    "adenocarcinoma": Term("SCT", "1187332001", "Adenocarcinoma"),
    "small cell carcinoma": Term("SCT", "74364000", "Small cell carcinoma"),
    "large cell carcinoma": Term("SCT", "22687000", "Large cell carcinoma"),
    "squamous cell carcinoma": Term("SCT", "1162767002", "Squamous cell carcinoma"),
}

# What guidelines make of a nodule, and of the examination
FLEISCHNER = Term(OWN_SCHEME, "FLEISCHNER", "Fleischner Society 2017", OWN)
LUNG_RADS = Term(OWN_SCHEME, "LUNG-RADS", "Lung-RADS 2022", OWN)
BTS = Term(OWN_SCHEME, "BTS", "British Thoracic Society 2015", OWN)
NELSON = Term(OWN_SCHEME, "NELSON", "NELSON trial", OWN)
GUIDELINES = {
    "Fleischner 2017": FLEISCHNER,
    "Lung-RADS 2022": LUNG_RADS,
    "BTS 2015": BTS,
    "NELSON": NELSON,
    "Type of cancer": ASSOCIATED_MORPHOLOGY,
}
"""By who assesses a lesion, and what an assessment is called that is no guideline's."""
ASSESSED: dict[str, Term] = {
    **CANCERS,
    **{
        each: Term(OWN_SCHEME, f"LR-{each}", f"Category {each}", OWN)
        for each in get_args(lung_rads.ExamCategory)
    },
    "< 6 mm": Term(OWN_SCHEME, "LT-6-MM", "Below 6 mm", OWN),
    "6-8 mm": Term(OWN_SCHEME, "6-8-MM", "6 to 8 mm", OWN),
    "> 8 mm": Term(OWN_SCHEME, "GT-8-MM", "Above 8 mm", OWN),
    "> 30 mm": Term(OWN_SCHEME, "GT-30-MM", "Above 30 mm", OWN),
    "< 80 mm3": Term(OWN_SCHEME, "LT-80-MM3", "Below 80 mm3", OWN),
    "80-300 mm3": Term(OWN_SCHEME, "80-300-MM3", "80 to below 300 mm3", OWN),
    ">= 300 mm3": Term(OWN_SCHEME, "GE-300-MM3", "300 mm3 and more", OWN),
    "< 5 mm": Term(OWN_SCHEME, "LT-5-MM", "Below 5 mm", OWN),
    ">= 5 mm": Term(OWN_SCHEME, "GE-5-MM", "5 mm and more", OWN),
    "growth": Term(OWN_SCHEME, "GROWTH", "Growth", OWN),
    "no growth": Term(OWN_SCHEME, "NO-GROWTH", "No growth", OWN),
    "VDT up to 400 days": Term(OWN_SCHEME, "VDT-LE-400", "Volume doubling time up to 400 days", OWN),
    "VDT 400 to 600 days": Term(OWN_SCHEME, "VDT-400-600", "Volume doubling time 400 to 600 days", OWN),
    "VDT over 600 days": Term(OWN_SCHEME, "VDT-GT-600", "Volume doubling time over 600 days", OWN),
    "negative": Term(OWN_SCHEME, "NEGATIVE", "Negative", OWN),
    "indeterminate": Term(OWN_SCHEME, "INDETERMINATE", "Indeterminate", OWN),
    "positive": Term(OWN_SCHEME, "POSITIVE", "Positive", OWN),
}
"""By the guidelines' results in words."""

# Present or not (CID 240), and the outcome of an algorithm (CID 6047)
PRESENT = Term("SCT", "52101004", "Present")
ABSENT = Term("SCT", "272519000", "Absent")
UNDETERMINED = Term("SCT", "373068000", "Undetermined")
PRESENCE: dict[Presence, Term] = {"present": PRESENT, "absent": ABSENT, "undetermined": UNDETERMINED}

# Units
CUBIC_MILLIMETRE = Term("UCUM", "mm3", "cubic millimeter")
MILLIMETRE = Term("UCUM", "mm", "millimeter", UCUM)
HOUNSFIELD = Term("UCUM", "[hnsf'U]", "Hounsfield unit")
SUV_BW_UNIT = Term("UCUM", "{SUVbw}g/ml", "Standardized Uptake Value body weight", UCUM)
MILLILITRE = Term("UCUM", "ml", "milliliter", UCUM)
GRAM = Term("UCUM", "g", "gram", UCUM)
PIXELS = Term("UCUM", "{pixels}", "pixels", UCUM)
PERCENT = Term("UCUM", "%", "Percent")
DAY = Term("UCUM", "d", "day")
NO_UNITS = Term("UCUM", "1", "no units")
RATIO = Term("UCUM", "{ratio}", "ratio")
UNITS = {unit.value: unit for unit in (MILLIMETRE, RATIO)}
"""Of what is measured of no lesion, by their UCUM codes."""

# Procedures (CID 100)
CT_UNSPECIFIED = Term("LN", "25045-6", "CT unspecified body region")
PET_UNSPECIFIED = Term("LN", "44136-0", "PET unspecified body region")
IMAGING_PROCEDURE = Term("SCT", "363679005", "Imaging procedure")
PROCEDURES = {"CT": CT_UNSPECIFIED, "PT": PET_UNSPECIFIED}
"""By the modality of what was read; CID 100 has none of an endoscopy, and only in later editions one of
a radiograph, XR unspecified body region (43468-8 LN)."""

# The document, the device, the algorithm
ONCOLOGY_REPORT = Term("DCM", "126001", "Oncology Measurement Report")
PET_REPORT = Term("DCM", "126003", "PET Measurement Report")
MEASUREMENT_REPORT = Term("DCM", "126000", "Imaging Measurement Report")
DEVICE = Term("DCM", "121007", "Device")
IMAGE_LIBRARY = Term("DCM", "111028", "Image Library")
TARGET_REGION = Term("DCM", "123014", "Target Region")
KEY_OBJECTS = Term("DCM", "113000", "Of Interest")
ARTIFICIAL_INTELLIGENCE = Term("DCM", "123110", "Artificial Intelligence")
PROCESSING_EQUIPMENT = Term("DCM", "109102", "Processing Equipment")
SEGMENTATION = Term("DCM", "113076", "Segmentation")
SOURCE_IMAGE = Term("DCM", "121322", "Source image for image processing operation")
IMAGING_REPORT = Term("LN", "18748-4", "Diagnostic imaging report", LOINC)
COMMENT = Term("DCM", "121106", "Comment")
QUALITATIVE_EVALUATIONS = Term("UMLS", "C0034375", "Qualitative Evaluations", "PS3.16 TID 1500")
FINDINGS = Term("DCM", "121070", "Findings")
FINDING = Term("DCM", "121071", "Finding")
ENGLISH = Term("RFC5646", "en-US", "English (United States)", "PS3.16 CID 5000")

TABLE: dict[str, Term] = {
    **{name: term for name, term in list(globals().items()) if isinstance(term, Term)},
    **{f"overall {name}": term for name, term in RESPONSES.items()},
    **{f"assessed {name}": term for name, term in ASSESSED.items()},
}
_BY_CODE = {(term.scheme, term.value): term for term in TABLE.values()}

SIDES: dict[Side, Term] = {"right": RIGHT, "left": LEFT}

SITES: dict[Term, Term] = {
    PULMONARY_NODULE: LUNG,
    POLYP_OF_COLON: COLON,
    PLEURAL_EFFUSION: CHEST,
    PULMONARY_EDEMA: LUNG,
    PNEUMOTHORAX: CHEST,
    ATELECTASIS: LUNG,
    LUNG_CONSOLIDATION: LUNG,
}

TARGETS: dict[str, Term] = {
    "lung-nodules": PULMONARY_NODULE,
    "ct-lesions": LESION,
    "polyps": POLYP_OF_COLON,
    "pet-ct": LESION,
}
"""What each reader looks for: what its report calls absent when it found nothing."""

REGIONS: dict[str, Term] = {"lung-nodules": CHEST, "chest-xray": CHEST, "polyps": COLON}
"""The region of the body each reader looks at; the others look at any."""


def concept_of(code: Code) -> CodedConcept:
    """The concept of a reader's code, with the meaning the table prints; a site's own model may use codes
    the table does not know, which go out as they are."""
    known = _BY_CODE.get((code.scheme, code.value))
    return known.concept if known else CodedConcept(code.value, code.scheme, code.meaning[:64])


def site_of(code: Code, site: Code | None = None) -> Term | None:
    """The anatomic site a finding names, else the one that its own code implies, if it does."""
    if site is not None:
        return _BY_CODE.get((site.scheme, site.value), Term(site.scheme, site.value, site.meaning[:64]))
    known = _BY_CODE.get((code.scheme, code.value))
    return SITES.get(known) if known else None
