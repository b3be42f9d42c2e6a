"""Runs engines on a robot: manifest, interface, preprocessing. Without torch, onnx, matplotlib or Dagster."""
