"""What is remembered: domain tables, their queries, and the file archive."""
