"""Whether a call may run, must be shown to a person, or is refused: the gate, and the policy that it asks."""
