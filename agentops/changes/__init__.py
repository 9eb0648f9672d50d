"""Changes of a tenant's rules that one admin proposes and another one lets take effect: the one concept of it."""
