"""The fleet: who may have which release now, what robots report, and the distribution repository between the two."""
