"""How dates and times are written where Django prints them itself, by language."""
