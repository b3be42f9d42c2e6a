"""The domain's verbs of the ``robot-assets`` command."""
