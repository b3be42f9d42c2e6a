"""Shared by all packages: errors, parameter models, digests, atomic publishing, progress, verdicts, pages, text."""
