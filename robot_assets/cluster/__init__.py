"""Kubernetes: pools of nodes, and the diagnosis of pods that failed or do not start."""
