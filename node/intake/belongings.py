"""Whose a study is and what study a series is of, so that what contradicts it is refused at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from node.intake.examination import Header
from storage.intake import Belonging, Owners, contradiction

MOST_KNOWN = 10_000  # studies, and as many series


class Belongings:
    """What the database held of the studies and series that came lately, as the ledger last saw it.

    Only the ledger tells it anything, of each batch that it has committed; whoever asks is answered from
    memory and waits for nobody. A study that is not known contradicts nothing: what does all the same is seen
    by the ledger and set aside, and from then on the study is known. ``merged``: patient IDs that are one
    patient's.
    """

    def __init__(self, merged: Sequence[Sequence[str]] = ()) -> None:
        self._merged = merged
        self._patient_of: OrderedDict[str, str] = OrderedDict()
        self._study_of: OrderedDict[str, str] = OrderedDict()

    def learn(self, owners: Owners) -> None:
        """Take what the database holds for true; from one thread alone."""
        _put(self._patient_of, owners.patient_of)
        _put(self._study_of, owners.study_of)

    def contradiction(self, header: Header) -> str:
        """Why an image cannot belong where it says; empty where it can, or where nothing is known."""
        patient_id = self._patient_of.get(header.study_uid)
        study_uid = self._study_of.get(header.series_uid)
        if (patient_id, study_uid) == (header.patient_id, header.study_uid):
            return ""  # another image of a series that is known: nearly all are
        known = Belonging(patient_id, study_uid)
        return contradiction(known, header.study_uid, header.patient_id, self._merged)


def _put(known: OrderedDict[str, str], told: Mapping[str, str]) -> None:
    for uid, value in told.items():
        known[uid] = value
        known.move_to_end(uid)
    while len(known) > MOST_KNOWN:
        known.popitem(last=False)
