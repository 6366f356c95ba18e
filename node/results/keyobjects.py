"""A Key Object Selection (PS3.3 A.35.4) that points at the key images and at everything made of them."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import ko
from pydicom import Dataset

from node.results import codes
from node.results.edition import DISCLAIMER, Edition
from node.results.report import device_observer


def key_objects(edition: Edition, related: Sequence[Dataset] = ()) -> ko.KeyObjectSelectionDocument:
    """The findings' key images, then ``related``: the edition's other objects.

    Raises:
        ValueError: no findings, so no image is of interest.
    """
    if not edition.reading.findings:
        raise ValueError("a key object selection needs at least one finding")
    objects = [*(edition.sources[uid] for uid in edition.key_image_uids()), *related]
    instance = ko.KeyObjectSelectionDocument(
        evidence=objects,
        content=ko.KeyObjectSelection(
            document_title=codes.KEY_OBJECTS.concept,
            referenced_objects=objects,
            observer_device_context=device_observer(edition),
            description=f"{DISCLAIMER}: {edition.reading.reader}",
        ),
        sop_instance_uid=edition.uid("ko"),
        instance_number=1,
        requested_procedures=edition.requests() or None,
        contributing_equipment=edition.equipment(),
        **edition.series("ko"),
        **edition.device(),
    )
    edition.settle(instance)
    return instance
