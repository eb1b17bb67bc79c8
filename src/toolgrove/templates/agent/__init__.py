"""One file for each way of writing tools, calls and results."""
