"""Where the prior lies in the current study: Spatial Registration (PS3.3 A.39.1) with the rigid motion alone,
and Deformable Spatial Registration (A.39.2) with the breath as well."""

from __future__ import annotations

from typing import Final

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from inference.growth.frames import FramesAligned
from inference.volume import Floats
from node.results.edition import Edition

SPATIAL_REGISTRATION: Final = UID("1.2.840.10008.5.1.4.1.1.66.1")
DEFORMABLE_SPATIAL_REGISTRATION: Final = UID("1.2.840.10008.5.1.4.1.1.66.3")


def rigid_registration(edition: Edition, aligned: FramesAligned) -> Dataset:
    """The prior's frame of reference in the current one: one item for each, with what brings it there."""
    instance = _registration(edition, aligned, SPATIAL_REGISTRATION, "reg")
    frames = (
        (aligned.current_frame, np.eye(4)),
        (aligned.prior_frame, np.asarray(np.linalg.inv(aligned.rigid), np.float64)),
    )
    instance.RegistrationSequence = Items([_registered(frame, motion) for frame, motion in frames])
    return instance


def deformable_registration(edition: Edition, aligned: FramesAligned) -> Dataset:
    """For each place of the current study, the same in the prior: the grid's displacement is added, and the
    rigid motion brings the sum into the prior's frame (PS3.3 C.20.3.1.1)."""
    instance = _registration(edition, aligned, DEFORMABLE_SPATIAL_REGISTRATION, "reg-deformable")
    slices, rows, columns = aligned.vectors.shape[:3]
    grid = Dataset()
    grid.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    grid.ImagePositionPatient = [round(float(mm), 4) for mm in aligned.affine[:3, 3]]
    grid.GridDimensions = [columns, rows, slices]
    step_z, step_y, step_x = (float(np.linalg.norm(aligned.affine[:3, axis])) for axis in range(3))
    grid.GridResolution = [step_x, step_y, step_z]
    grid.VectorGridData = np.ascontiguousarray(aligned.vectors, "<f4").tobytes()
    item = Dataset()
    item.SourceFrameOfReferenceUID = aligned.prior_frame
    item.RegistrationTypeCodeSequence = Items([])
    item.DeformableRegistrationGridSequence = Items([grid])
    item.PreDeformationMatrixRegistrationSequence = Items([_matrix(np.eye(4))])
    item.PostDeformationMatrixRegistrationSequence = Items([_matrix(aligned.rigid)])
    instance.DeformableRegistrationSequence = Items([item])
    return instance


def _registration(edition: Edition, aligned: FramesAligned, sop_class: UID, role: str) -> Dataset:
    source = edition.sources.first
    instance = hd.SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        sop_instance_uid=edition.uid(role),
        sop_class_uid=sop_class,
        instance_number=1,
        modality="REG",
        patient_id=source.get("PatientID"),
        patient_name=source.get("PatientName"),
        patient_birth_date=source.get("PatientBirthDate"),
        patient_sex=source.get("PatientSex"),
        study_id=source.get("StudyID"),
        accession_number=source.get("AccessionNumber"),
        study_date=source.get("StudyDate"),
        study_time=source.get("StudyTime"),
        referring_physician_name=source.get("ReferringPhysicianName"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **edition.series(role),
        **edition.device(),
    )
    instance.FrameOfReferenceUID = aligned.current_frame
    instance.PositionReferenceIndicator = ""
    instance.Laterality = ""
    instance.ContributingEquipmentSequence = edition.equipment()
    instance.ContentLabel = "PRIOR"
    instance.ContentDescription = "Place of the prior study in this one"
    instance.ContentCreatorName = ""
    instance.add_new("ContentDate", "DA", "")  # the edition dates it
    instance.add_new("ContentTime", "TM", "")
    edition.settle(instance)
    return instance


def _registered(frame: str, motion: Floats) -> Dataset:
    to_frame = Dataset()
    to_frame.RegistrationTypeCodeSequence = Items([])
    to_frame.MatrixSequence = Items([_matrix(motion)])
    item = Dataset()
    item.FrameOfReferenceUID = frame
    item.MatrixRegistrationSequence = Items([to_frame])
    return item


def _matrix(motion: Floats) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = "RIGID"
    item.FrameOfReferenceTransformationMatrix = [f"{value:.10g}"[:16] for value in motion.ravel()]
    return item
