"""The smoke test, a user's walk through the cloud from a key pair to five instances at once: ``python -m smoke``."""
