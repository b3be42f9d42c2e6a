"""What a robot needs to run an engine: manifest, interface, preprocessing. No torch, onnx, matplotlib or Dagster."""
