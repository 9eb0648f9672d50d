"""What waits, in order: narrowed, counted, served to one person at a time, and kept up to date on open pages."""
