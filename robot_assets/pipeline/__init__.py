"""The stages of a project: parameters, asset names, the registry of stage kinds, placement."""
