"""Whose a study is, and of what study series and images are: what contradicts that is refused at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from node.intake.header import Header
from storage.belonging import Belonging, Owners, contradiction

MOST_KNOWN = 10_000  # studies, and as many series
MOST_IMAGES = 50_000


class Belongings:
    """What the database held of the studies, series and images that came lately, as the ledger last saw it.

    Only the ledger tells it anything, of each batch that it has committed; whoever asks is answered from
    memory and waits for nobody. A study that is not known contradicts nothing: what does all the same is seen
    by the ledger and set aside, and from then on the study is known. ``merged``: patient IDs that are one
    patient's.
    """

    def __init__(self, merged: Sequence[Sequence[str]] = ()) -> None:
        self._merged = merged
        self._patient_of: OrderedDict[str, str] = OrderedDict()
        self._study_of: OrderedDict[str, str] = OrderedDict()
        self._study_of_image: OrderedDict[str, str] = OrderedDict()

    def learn(self, owners: Owners, images: Mapping[str, str]) -> None:
        """Take what the database holds for true; from one thread alone. ``images``: the Study Instance UID of
        those that were entered, by SOP Instance UID."""
        _put(self._patient_of, owners.patient_of, MOST_KNOWN)
        _put(self._study_of, owners.study_of, MOST_KNOWN)
        _put(self._study_of_image, images, MOST_IMAGES)
        _put(self._study_of_image, owners.study_of_image, MOST_IMAGES)

    def study_of(self, uid: str) -> str | None:
        """The study that an image of this SOP Instance UID was entered in, though it may have been deleted
        since."""
        return self._study_of_image.get(uid)

    def contradiction(self, header: Header, study_of_image: str | None = None) -> str:
        """Why an image cannot belong where it says; empty where it can, or where nothing is known.
        ``study_of_image``: where another of the same UID is."""
        patient_id = self._patient_of.get(header.study_uid)
        study_uid = self._study_of.get(header.series_uid)
        if (patient_id, study_uid, study_of_image) == (header.patient_id, header.study_uid, None):
            return ""  # another image of a series that is known: nearly all are
        known = Belonging(patient_id, study_uid, study_of_image)
        return contradiction(known, header.study_uid, header.patient_id, self._merged)


def _put(known: OrderedDict[str, str], told: Mapping[str, str], most: int) -> None:
    for uid, value in told.items():
        known[uid] = value
        known.move_to_end(uid)
    while len(known) > most:
        known.popitem(last=False)
