"""Records, code versions and staleness: pure functions on plain records."""
