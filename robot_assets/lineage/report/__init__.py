"""An audit for people: on a terminal, as an HTML page, as a few lines of Markdown."""
