"""CT and PET of one study in one frame: a network estimates where each point of the CT lies in the PET."""
