"""Puts the same 50 requests to ``toolgrove deploy`` and to vLLM's own server; tells field by field
where the answers differ, and why. Exits with 1 when a difference has no reason in the list below.

    vllm serve FOLDER --port 8001 --enable-auto-tool-choice --tool-call-parser hermes \\
        --chat-template FOLDER/chat_template.jinja --served-model-name m
    toolgrove deploy --model FOLDER --infer_backend vllm --url http://127.0.0.1:8001 --port 8002 \\
        --served_model_name m
    python scripts/compare_vllm.py http://127.0.0.1:8002 http://127.0.0.1:8001 --model m
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
STRICT = {**TOOL, "function": {**TOOL["function"], "strict": True}}
ASK = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]
CALL = {
    "id": "abc123def",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius"}'},
}
LOOP = [
    *ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "abc123def", "content": "21 degrees"},
]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


class Asked(NamedTuple):
    """A request: its name, path and body (None: GET)."""

    name: str
    path: str
    body: Any


def chat(name: str, **more: Any) -> Asked:
    """A chat of a few tokens, drawn greedily."""
    body = {"messages": ASK, "temperature": 0, "max_tokens": 40, **more}
    return Asked(name, "/v1/chat/completions", body)


def completion(name: str, **more: Any) -> Asked:
    """A completion of a few tokens, drawn greedily."""
    body = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 6, **more}
    return Asked(name, "/v1/completions", body)


def requests() -> list[Asked]:
    """The 50 requests."""
    system = {"role": "system", "content": "Answer in one word."}
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]
    json_schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    usage = {"stream_options": {"include_usage": True}}
    return [
        chat("plain"),
        chat("system prompt", messages=[system, *ASK]),
        chat("content in parts", messages=parts, max_tokens=8),
        chat("length", max_tokens=2),
        chat("max_completion_tokens", max_completion_tokens=3, max_tokens=None),
        chat("stop text", stop=" the", max_tokens=24),
        chat("stop list", stop=[".", "?"], max_tokens=24),
        chat("two choices", n=2, max_tokens=6),
        chat("seed", seed=7, temperature=1, max_tokens=4, n=2),
        chat("logprobs", logprobs=True, max_tokens=3),
        chat("top logprobs", logprobs=True, top_logprobs=3, max_tokens=3),
        chat("bias", logit_bias={"44": -100}, max_tokens=4),
        chat("penalties", presence_penalty=0.5, frequency_penalty=0.5, max_tokens=6),
        chat("top_k, min_p", top_k=5, min_p=0.1, max_tokens=4),
        chat("token ids", return_token_ids=True, max_tokens=4),
        chat("tools", tools=[TOOL]),
        chat("two tools", tools=[TOOL, CLOCK]),
        chat("tools, none", tools=[TOOL], tool_choice="none", max_tokens=8),
        chat("tools, required", tools=[TOOL], tool_choice="required"),
        chat("strict, required", tools=[STRICT], tool_choice="required"),
        chat("strict, auto", tools=[STRICT]),
        chat("named", tools=[TOOL, CLOCK], tool_choice=NAMED),
        chat("one call at most", tools=[TOOL], parallel_tool_calls=False),
        chat("result", messages=LOOP, tools=[TOOL], max_tokens=16),
        chat("cut call", tools=[TOOL], max_tokens=10),
        chat("json_schema", response_format=json_schema, max_tokens=16),
        chat("json_object", response_format={"type": "json_object"}, max_tokens=24),
        chat("stream", stream=True, max_tokens=8),
        chat("stream, usage", stream=True, max_tokens=4, **usage),
        chat("stream, tools", stream=True, tools=[TOOL]),
        chat("stream, required", stream=True, tools=[TOOL], tool_choice="required"),
        chat("stream, strict named", stream=True, tools=[STRICT], tool_choice=NAMED),
        chat("stream, logprobs", stream=True, logprobs=True, max_tokens=3),
        completion("completion"),
        completion("completion of ids", prompt=[504, 3575, 282, 4649, 314]),
        completion("completions", prompt=["One, two,", "Red, green,"]),
        completion("completion, logprobs", logprobs=2, max_tokens=2),
        completion("completion, stream", stream=True),
        completion("completion, stop", stop=["."], max_tokens=12),
        Asked("tokenize chat", "/tokenize", {"messages": ASK, "tools": [TOOL]}),
        Asked("tokenize text", "/tokenize", {"prompt": "Hello <tool_call>"}),
        Asked("detokenize", "/detokenize", {"tokens": [504, 3575, 282, 4649]}),
        Asked("models", "/v1/models", None),
        chat("no tools in the list", tools=[]),
        chat("choice without tools", tool_choice="required"),
        chat("unknown tool named", tools=[CLOCK], tool_choice=NAMED),
        chat("unknown model", model="nobody"),
        chat("negative temperature", temperature=-1),
        chat("no messages", messages=[]),
        chat("too long", messages=[{"role": "user", "content": "word " * 9000}]),
    ]


_UNASKED = "vLLM sends fields of its own, and OpenAI's that it does not fill, as null"
_GREEDY = "vLLM refuses several choices where nothing is drawn; ours gives them"
_NUMBERS = "requests share batches, and sums in bfloat16 come out otherwise in another batch"
REASONS = [
    (r"", "two choices", _GREEDY),
    (r"(^|\.|\])(id|created)$", None, "differs from answer to answer"),
    (r"prompt_tokens_details", None, "ours tells cached tokens; vLLM only when it is told to"),
    (r"prompt_token_ids", "^token ids$", "vLLM sends the prompt's ids, too"),
    (
        r"annotations|audio|function_call|routed_experts|stop_reason|transfer_params|metrics"
        r"|prompt_logprobs|prompt_text|prompt_token_ids|service_tier|token_ids|token_strs"
        r"|completion_tokens_details|top_logprobs$|message\.reasoning$|text_offset",
        None,
        _UNASKED,
    ),
    (r"refusal$", None, "OpenAI's field, which vLLM leaves out here"),
    (r"system_fingerprint", None, "vLLM names its version here"),
    (
        r"top_logprobs\[\]\.(bytes|token|logprob)",
        "logprobs$",
        "vLLM tells the chosen token besides those that were asked for",
    ),
    (r"logprob", None, _NUMBERS),
    (
        r"^error\.(message|type|code|param)$",
        None,
        "ours are OpenAI's words and codes; statuses agree",
    ),
    (
        r"^data\[\]\.(chat_template|agent_template|template_reason)$",
        None,
        "ours says which it speaks",
    ),
    (r"^data\[\]\.(owned_by|root|permission.*)$", None, "whose server it is; vLLM's permissions"),
    (
        r"content",
        "^tools, none$",
        "with none, ours forbids what begins a call; vLLM shows it as text",
    ),
    (
        r"content$",
        "required|named",
        "ours says null where there are calls alone, vLLM an empty text",
    ),
    (
        r"arguments|usage|tool_calls",
        "named$",
        "vLLM holds a named call to bare JSON; ours is written in the model's dialect, as learnt",
    ),
    (
        r"content|finish_reason|usage",
        "^json_",
        "white space may stand before our JSON, and the model then goes on otherwise",
    ),
    (r"", "^(seed|top_k, min_p|two tools|plain|system prompt|stop list|stop text)", _NUMBERS),
]
"""Field (a pattern), request (a pattern or None: any), reason. The first that fits is told."""


def main() -> int:
    """Asks both, prints the table; 1 when a difference has no reason."""
    reader = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    reader.add_argument("ours")
    reader.add_argument("theirs")
    reader.add_argument("--model", required=True)
    reader.add_argument("--together", type=int, default=8, help="requests at a time")
    reader.add_argument("--answers", help="answers that an earlier run kept (--raw)")
    reader.add_argument("--raw", help="a file for all answers, as JSON")
    given = reader.parse_args()
    asked = requests()
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    kept: list[Any] = []

    def both(one: Asked) -> list[dict[str, Any]]:
        return [ask(url, one, given.model) for url in (given.ours, given.theirs)]

    if given.answers:
        with open(given.answers, encoding="utf-8") as file:  # noqa: PTH123
            pairs = [[entry["ours"], entry["theirs"]] for entry in json.load(file)]
    else:
        with ThreadPoolExecutor(given.together) as pool:
            pairs = list(pool.map(both, asked))
    for one, pair in zip(asked, pairs, strict=True):
        kept.append({"name": one.name, "ours": pair[0], "theirs": pair[1]})
        for field, how in dict.fromkeys(differences(*pair)):
            found[field, how, reason_of(field, one.name)].append(one.name)
    if given.raw:
        with open(given.raw, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(kept, file, indent=1, ensure_ascii=False)
    print(f"{len(asked)} requests\n\n| field | difference | requests | reason |\n|---|---|---|---|")
    for (field, how, reason), names in sorted(found.items(), key=lambda item: item[0]):
        told = ", ".join(names) if len(names) < 4 else f"{len(names)}, as {names[0]}"
        print(f"| `{field}` | {how} | {told} | {reason or '**none**'} |")
    return int(any(not reason for _, _, reason in found))


def reason_of(field: str, name: str) -> str:
    """Why this field of this request may differ; empty: nobody knows."""
    for pattern, asked, reason in REASONS:
        if re.search(pattern, field) and (asked is None or re.search(asked, name)):
            return reason
    return ""


def ask(url: str, asked: Asked, model: str) -> dict[str, Any]:
    """The status and the answer; a stream is put together from its chunks, which are kept, too."""
    body = asked.body if asked.body is None else {"model": model, **asked.body}
    body = body and {key: value for key, value in body.items() if value is not None}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + asked.path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=900) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read().decode(), error.code
    if body and body.get("stream") and status == 200:
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        events = [json.loads(line) for line in lines if line != "[DONE]"]
        return {"status": status, "stream": gathered(events), "done": lines[-1]}
    return {"status": status, **json.loads(text)}


def gathered(events: list[Any]) -> dict[str, Any]:
    """All chunks of a stream laid over each other: texts joined, other values the last one."""
    whole: dict[str, Any] = {}
    for event in events:
        lay(whole, event)
    return whole


def lay(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Adds a chunk to what came before it."""
    for key, value in part.items():
        before = whole.get(key)
        if isinstance(value, dict):
            whole[key] = before if isinstance(before, dict) else {}
            lay(whole[key], value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            entries = before if isinstance(before, dict) else {}
            whole[key] = entries
            for place, item in enumerate(value):
                lay(entries.setdefault(str(item.get("index", place)), {}), item)
        elif isinstance(value, str) and isinstance(before, str) and key in _TEXTS:
            whole[key] = before + value
        elif value is not None or key not in whole:
            whole[key] = value


_TEXTS = ("content", "text", "reasoning", "reasoning_content", "arguments")


def differences(ours: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    """The fields in which two answers differ, and how."""
    mine, other = dict(flat(ours)), dict(flat(theirs))
    for field in {**mine, **other}:
        if field not in other:
            empty = mine[field] in (None, [], {})
            yield plain(field), "only ours" + (" (null)" if empty else "")
        elif field not in mine:
            empty = other[field] in (None, [], {})
            yield plain(field), "only theirs" + (" (null)" if empty else "")
        elif not alike(mine[field], other[field]):
            yield plain(field), "another value"


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers up to the rounding of a bfloat16 model."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 0.05
    return bool(one == other)


def flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Each innermost value with the way to it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value and not isinstance(value[0], int):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{at}[{index}]")
    else:
        yield at, value


def plain(field: str) -> str:
    """The way to a field without the numbers of list entries."""
    return re.sub(r"\[\d+\]|\.\d+(?=\.|$)", "[]", field)


if __name__ == "__main__":
    raise SystemExit(main())
