"""Wire formats: strict JSON, its canonical text and digest, ids and money. Pure; imports nothing of the project."""

from agentops.wire.parse import JSON, JSONObject, WireError

__all__ = ["JSON", "JSONObject", "WireError"]
