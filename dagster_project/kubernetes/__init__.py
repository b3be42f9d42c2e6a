"""Runs and steps as Kubernetes Jobs: launcher, executor, pods, nodes."""
