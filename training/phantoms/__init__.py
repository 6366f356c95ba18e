"""Procedural patients: deterministic by seed, numpy and scipy alone."""
