"""What a trained model's folder keeps about the dialect that it speaks."""

from __future__ import annotations

from toolgrove.core.messages import JSON
from toolgrove.templates.dialect import Dialect

FILE = "dialect.json"


def spoken(dialect: Dialect) -> JSON:
    """The dialect's templates, options and date, and a fingerprint of what it writes."""
    return {
        "chat_template": dialect.chat_name,
        "agent_template": dialect.agent_name,
        "options": dict(dialect.options),
        "today": dialect.today.isoformat(),
        "fingerprint": dialect.fingerprint(),
    }
