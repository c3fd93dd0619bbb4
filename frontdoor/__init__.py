"""The command line of the project: one table of verbs, each a small function."""
