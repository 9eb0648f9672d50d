"""Stop the line, and step into runs."""
