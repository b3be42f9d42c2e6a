"""What a device is: probe and fingerprint."""
