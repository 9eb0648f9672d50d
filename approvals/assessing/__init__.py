"""How risky a call is, why, and what that asks of a decision."""
