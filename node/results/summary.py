"""The pages of what was found, as a Secondary Capture series for viewers that show only images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import highdicom as hd
from highdicom import sc
from pydicom import DataElement, Dataset

from node.results.edition import DISCLAIMER, Edition
from node.results.layout import Rgb
from node.results.pages import pages

_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def summary(
    edition: Edition,
    prior_images: Mapping[str, Rgb] | None = None,
    courses: Mapping[str, Rgb] | None = None,
) -> Iterator[Dataset]:
    """The pages as Secondary Capture images of one series, in order."""
    source = edition.sources.first
    images = [edition.sources[uid] for uid in edition.key_image_uids()]
    shown, lost = hd.ReferencedImageSequence(images), _lost(images)
    for number, picture in enumerate(pages(edition, prior_images, courses), 1):
        instance = sc.SCImage.from_ref_dataset(
            ref_dataset=source,
            pixel_array=picture,
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            patient_orientation=("L", "P"),
            sop_instance_uid=edition.uid(f"sc-{number}"),
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            contributing_equipment=edition.equipment(),
            **edition.series("sc"),
            **edition.device(),
        )
        instance["PatientOrientation"] = DataElement(
            "PatientOrientation", "CS", ""
        )  # pictures of several planes
        instance.Laterality = source.get("Laterality", "")
        instance.Modality = "OT"
        instance.ImageType = ["DERIVED", "SECONDARY"]
        instance.BurnedInAnnotation = "YES"  # no names, but findings and dates
        instance.DerivationDescription = DISCLAIMER
        instance.SourceImageSequence = shown
        instance.update(lost)
        edition.settle(instance)
        yield instance


def _lost(images: Iterable[Dataset]) -> Dataset:
    """What the first image that was compressed with loss says of it, which whatever is derived from it has to
    say too (PS3.3 C.7.6.1.1.5); empty where none was."""
    said = Dataset()
    lossy = next((image for image in images if image.get("LossyImageCompression") == "01"), said)
    said.update({lossy[keyword].tag: lossy[keyword] for keyword in _COMPRESSION if keyword in lossy})
    return said
