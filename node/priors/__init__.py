"""A patient's earlier studies: which there are, which are worth having, and how they come here."""
