"""The DICOM upper layer (PS3.8) straight on a socket: PDUs, command sets, and an association we ask for."""
