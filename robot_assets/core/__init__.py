"""What every room may use: errors, parameter models, digests, atomic publishing, progress, verdicts."""
