"""Measuring how well a model calls tools."""
