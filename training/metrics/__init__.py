"""The field's own figures, computed as the field computes them."""
