"""The Dagster layer of robot_assets: reads a resource, calls one domain function, records its result."""
