"""Views and forms: parse, call one service, answer."""
