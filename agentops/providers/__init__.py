"""Which models there are: who serves them, how they are asked, and what they cost."""
