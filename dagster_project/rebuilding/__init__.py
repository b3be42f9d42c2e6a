"""The sensor that starts runs for stale assets."""
