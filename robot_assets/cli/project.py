"""Re-export."""
from robot_assets.project import Project, find_project

__all__ = ["Project", "find_project"]
