"""From conversations to token ids with weights."""
