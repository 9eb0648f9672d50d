"""What allows a call once or for a while: grants, rates, scoped trust, and the policy in force."""
