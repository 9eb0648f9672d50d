"""What a call says, read for people: its arguments, what kinds of things they are, and where each came from."""
