"""Evaluates the ``lung-nodules`` reader: on phantoms, on LIDC slice crops, on real scans,
on LUNA16."""
