"""What a node does for itself beside the way of a study: looks at its parts, deletes what is too old."""
