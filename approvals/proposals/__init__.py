"""The life of a proposal: frozen, open, ended; the lock that everybody takes, and the clocks that stand still."""
