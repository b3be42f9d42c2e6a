"""The simulated sidewalk: shapes, actors, street, weather, traffic and the renderer.

World frame: x along the street (the robot drives towards +x), y across it (+y is the road side before a
session is mirrored), z up; metres. Colours are RGB albedo in [0, 1].
"""
