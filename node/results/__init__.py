"""Findings become DICOM."""
