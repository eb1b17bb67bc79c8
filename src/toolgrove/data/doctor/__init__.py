"""The doctor: what is wrong with rows, where, and how to mend it."""
