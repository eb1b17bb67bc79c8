"""Agents: a model thinks, calls tools, observes what they return, and goes on until it answers."""
