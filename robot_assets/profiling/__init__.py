"""Profiles all engines of a robot together at the rates of its sensors: deadlines, latencies, cores and memory."""
