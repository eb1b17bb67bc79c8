"""Formats to convert to: one file each, found by a scan of this folder."""
