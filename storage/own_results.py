"""Which objects of a study are this node's own results, come back from a PACS that routes all it gets."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists

from storage.tables import Delivery, Instance, Series

MODALITIES = ("SEG", "SR", "PR", "OT", "KO", "REG")  # that results are of


def is_own_result() -> ColumnElement[bool]:
    """Of an instance and its series: that it was sent from here. Images are not looked up one by one."""
    was_sent = exists().where(Delivery.object_uid == Instance.uid)
    return and_(Series.modality.in_(MODALITIES), was_sent)
