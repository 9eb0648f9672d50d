"""What people do about a proposal, and what stands between a click and a recorded decision."""
