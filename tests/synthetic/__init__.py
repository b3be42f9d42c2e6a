"""Projects and histories made for measuring and testing: as large as asked for, real in everything that is read."""
