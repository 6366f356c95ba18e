"""Which reader gets which series of a study, and why not the others."""
