"""What a hospital does to a node, done on purpose."""
