"""The networks of the ``lung-nodules`` reader: a detector on whole chests, a characteriser on crops."""
