"""The networks of the ``chest-xray`` reader: lungs of either side, and the findings."""
