"""What the detectors of every task share: their networks, targets and losses."""
