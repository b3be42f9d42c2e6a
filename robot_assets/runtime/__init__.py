"""What an engine is to whoever runs it: manifest, interface, preprocessing. No torch, onnx, matplotlib or Dagster."""
