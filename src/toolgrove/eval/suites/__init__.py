"""Suites of cases: one file each, found by a scan of this folder."""
