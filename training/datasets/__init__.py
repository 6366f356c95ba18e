"""Public data sets, read in the layout they are released in."""
