"""Tools that come along: one file each, found by a scan of this folder."""
