"""Recorded calls and references from outside, led back to who decided them."""
