"""Recording sessions: rules that group images, and proposals of rules for images that cannot be split."""
