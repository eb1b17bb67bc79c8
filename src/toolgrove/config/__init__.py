"""Settings: one declaration for Python, recipe files and flags."""
