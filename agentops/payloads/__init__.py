"""Long texts of the record, kept once beside it under their SHA-256; events carry the reference."""
