"""Devices: probe, fingerprint, memory, power and temperature."""
