"""One file for each family of chat templates."""
