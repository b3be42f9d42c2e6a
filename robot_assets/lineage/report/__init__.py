"""Renders an audit as terminal text, as an HTML page and as a Markdown summary."""
