"""What the detectors of every task share: their networks, targets, losses, and what their cards say."""
