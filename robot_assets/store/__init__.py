"""Content-addressed artifacts, byte for byte a DVC remote."""
