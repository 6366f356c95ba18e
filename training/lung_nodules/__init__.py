"""The two networks of the ``lung-nodules`` reader: a detector on the whole chest, a characteriser on crops."""
