"""Chat templates, agent templates, and the dialects that they make together."""
