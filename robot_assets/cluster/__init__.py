"""A Kubernetes cluster as the domain sees it: pools of nodes, and why a pod has ended or cannot start."""
