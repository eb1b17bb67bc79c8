"""Data: from files and hubs to conversations, each row with its place."""
