"""The network of the ``pet-ct`` reader."""
