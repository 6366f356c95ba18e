"""The other DICOM nodes: what is asked of them, what is sent to them, and what they answer for."""
