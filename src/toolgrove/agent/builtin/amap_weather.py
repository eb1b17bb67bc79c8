"""The weather of a Chinese city or district, from Amap's web service (needs a key)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from toolgrove.agent.role_play import named_tools
from toolgrove.agent.tools import CallError, RunnableTool, Source, ToolList
from toolgrove.core.messages import JSON, Tool

HOME = "https://restapi.amap.com/v3"
KEY_HINT = "get a key at https://lbs.amap.com and set AMAP_TOKEN"

_TOOL = Tool(
    {
        "type": "function",
        "function": {
            "name": "amap_weather",
            "description": "获取对应城市的天气数据",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {
                        "type": "string",
                        "description": "城市/区具体名称，如`北京市海淀区`请描述为`海淀区`",
                    }
                },
                "required": ["location"],
            },
        },
    }
)


@named_tools.add("amap_weather")
def amap_weather(options: Mapping[str, Any]) -> Source:
    """The tool; ``options`` may hold the key (``token``) and the service's address (``url``)."""
    key = str(options.get("token") or os.environ.get("AMAP_TOKEN") or "")
    home = str(options.get("url") or HOME).rstrip("/")

    def call(arguments: JSON, timeout_s: float) -> str:
        if not key:
            raise CallError(f"the weather service needs a key: {KEY_HINT}")
        place = arguments["location"]
        found = _asked(f"{home}/geocode/geo", {"address": place, "key": key}, timeout_s)
        codes = found.get("geocodes") or []
        if not codes:
            raise CallError(f'there is no place "{place}"')
        asked = {"city": codes[0]["adcode"], "key": key}
        lives = _asked(f"{home}/weather/weatherInfo", asked, timeout_s).get("lives") or []
        if not lives:
            raise CallError(f'no weather is known for "{place}"')
        return f"{place}：天气{lives[0]['weather']}，温度{lives[0]['temperature']}度。"

    return ToolList("amap_weather", [RunnableTool(_TOOL, call, True, "amap_weather")])


def _asked(url: str, query: Mapping[str, str], timeout_s: float) -> JSON:
    try:
        with urlopen(f"{url}?{urlencode(query)}", timeout=timeout_s) as reply:
            answer = json.loads(reply.read())
    except (URLError, OSError, ValueError) as error:
        raise CallError(f"the weather service does not answer: {error}") from error
    if answer.get("status") != "1":
        raise CallError(f"the weather service refuses: {answer.get('info', answer)}")
    return answer
