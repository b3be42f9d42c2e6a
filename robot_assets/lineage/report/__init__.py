"""An audit for people: on a terminal, as a page to hand over, as a few lines of markdown."""
