"""How the network that registers PET to CT is made and measured."""
