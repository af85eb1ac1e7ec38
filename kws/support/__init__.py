"""Plumbing that knows nothing of keywords: errors, files, locks, downloads, commands."""
