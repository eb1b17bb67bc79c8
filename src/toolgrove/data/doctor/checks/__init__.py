"""One file for each group of checks on a single row; a scan of this folder finds them."""
