"""The stages of a project: parameters, asset names, registry of stage kinds, placement."""
