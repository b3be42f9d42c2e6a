"""Releases: all engines that a group of robots should run, in one verifiable bundle that is switched as a whole."""
