"""The Dagster face of robot_assets. Thin: reads a resource, calls one domain function, returns its record."""
