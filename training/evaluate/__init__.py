"""How good the readers are, by the field's figures."""
