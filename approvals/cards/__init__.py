"""Everything that the card of one proposal, or of one unknown effect, prints."""
