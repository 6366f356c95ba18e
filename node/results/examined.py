"""What was examined, as reports tell it: the procedure, the images, and the region of the body they show."""

from __future__ import annotations

from highdicom import sr
from pydicom import Dataset

from node.results import codes


def procedure_reported(image: Dataset) -> codes.Term:
    """As TID 1500 names procedures, by CID 100: that has no procedure of a region our readers look at."""
    return codes.PROCEDURES.get(image.Modality, codes.IMAGING_PROCEDURE)


def listed(image: Dataset) -> Dataset:
    """What the image library says of an image: no more than any image has. highdicom's descriptors for
    projections fail where the scanner left out spacing or orientation, and nothing reads them."""
    entry = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
        if keyword not in image:
            continue
        entry[keyword] = image[keyword]
    entry.Modality = "OT"
    return entry


def show_region(content: sr.MeasurementReport, region: codes.Term) -> None:
    """Gives each image of the library its Target Region (TID 1602 row 2), which highdicom does not make."""
    libraries = (item for item in content[0].ContentSequence if item.name == codes.IMAGE_LIBRARY.concept)
    groups = (group for library in libraries for group in library.ContentSequence)
    for image in (image for group in groups for image in group.ContentSequence):
        image.ContentSequence.append(
            sr.CodeContentItem(
                codes.TARGET_REGION.concept, region.concept, sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
            )
        )
