"""Agents of other libraries on a server: run in their own environment by test_clients.py.

``python clients.py NAME URL MODEL STREAM`` asks one question that needs two tools, and prints which
tools were called with which city, and the last answer.
"""

import asyncio
import contextlib
import json
import sys

QUESTION = "How is the weather in Zürich, and how late is it there?"
RESULTS = {"get_weather": "21 °C", "get_time": "12:00"}
CALLED = []


def get_weather(city: str) -> str:
    """Tells the weather in a city.

    Args:
        city: The name of the city.
    """
    CALLED.append(("get_weather", city))
    return RESULTS["get_weather"]


def get_time(city: str) -> str:
    """Tells the time in a city.

    Args:
        city: The name of the city.
    """
    CALLED.append(("get_time", city))
    return RESULTS["get_time"]


TOOLS = (get_weather, get_time)


def specs():
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return [
        {"name": tool.__name__, "description": "Looks it up.", "parameters": city} for tool in TOOLS
    ]


def run(name, arguments):
    return next(tool for tool in TOOLS if tool.__name__ == name)(**arguments)


def with_openai(url, model, stream):
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="x", max_retries=0)
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": model, "tools": [{"type": "function", "function": s} for s in specs()]}
    for _ in range(8):
        if stream:
            with client.chat.completions.stream(messages=messages, **asked) as events:
                for _event in events:
                    pass
                answer = events.get_final_completion()
        else:
            answer = client.chat.completions.create(messages=messages, **asked)
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            result = run(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise SystemExit("no end")


def with_agents(url, model, stream, responses=False):
    import agents
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=url, api_key="x", max_retries=0)
    kind = agents.OpenAIResponsesModel if responses else agents.OpenAIChatCompletionsModel
    agent = agents.Agent(
        name="guide",
        instructions="Look it up.",
        model=kind(model=model, openai_client=client),
        tools=[agents.function_tool(tool) for tool in TOOLS],
    )

    async def talk():
        if not stream:
            return (await agents.Runner.run(agent, QUESTION)).final_output
        going = agents.Runner.run_streamed(agent, QUESTION)
        async for _event in going.stream_events():
            pass
        return going.final_output

    return asyncio.run(talk())


def with_agents_responses(url, model, stream):
    return with_agents(url, model, stream, responses=True)


def with_langchain(url, model, stream):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    llm = ChatOpenAI(base_url=url, api_key="x", model=model, max_retries=0)
    llm = llm.bind_tools([tool(one) for one in TOOLS])
    messages = [HumanMessage(QUESTION)]
    for _ in range(8):
        if stream:
            chunks = list(llm.stream(messages))
            answer = chunks[0]
            for chunk in chunks[1:]:
                answer += chunk
        else:
            answer = llm.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return answer.content
        for call in answer.tool_calls:
            result = run(call["name"], call["args"])
            messages.append(ToolMessage(result, tool_call_id=call["id"]))
    raise SystemExit("no end")


def with_smolagents(url, model, stream):
    from smolagents import OpenAIModel, ToolCallingAgent, tool

    agent = ToolCallingAgent(
        tools=[tool(one) for one in TOOLS],
        model=OpenAIModel(model_id=model, api_base=url, api_key="x"),
        stream_outputs=stream,
        max_steps=6,
        verbosity_level=0,
    )
    return agent.run(QUESTION)


def with_qwen_agent(url, model, stream):
    """Streams with tools in OpenAI's form; whole answers with calls that it reads itself."""
    from qwen_agent.llm import get_chat_model

    settings = {"fncall_prompt_type": "nous", "max_retries": 0}
    settings |= {"use_raw_api": True} if stream else {}
    server = {"model": model, "model_server": url, "api_key": "x", "generate_cfg": settings}
    llm = get_chat_model(server)
    messages = [{"role": "user", "content": QUESTION}]
    for _ in range(8):
        answers = llm.chat(messages=messages, functions=specs(), stream=stream)
        answers = list(answers)[-1] if stream else answers
        messages += answers
        calls = [m["function_call"] for m in answers if m.get("function_call")]
        if not calls:
            return answers[-1]["content"]
        for call in calls:
            result = run(call["name"], json.loads(call["arguments"]))
            messages.append({"role": "function", "name": call["name"], "content": result})
    raise SystemExit("no end")


def main():
    name, url, model, stream = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        said = globals()[f"with_{name}"](url, model, stream == "True")
    print(json.dumps({"called": CALLED, "said": said}))


if __name__ == "__main__":
    main()
