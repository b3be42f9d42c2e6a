"""The kinds of stages, one module each; ``robot_assets.pipeline.registry`` lists them."""
