"""The command line ``robot-assets``."""
