"""The agent on a robot: takes the release that it is assigned, proves it there, and goes back when it has to."""
