"""Serving: an OpenAI-compatible server whose tool calls are read, streamed and held to schemas."""
