"""The network of the ``polyps`` reader."""
