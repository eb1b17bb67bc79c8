import toolgrove as tg
from toolgrove.templates.abilities import agent_abilities, chat_abilities


def test_every_template_is_listed():
    assert [chat.name for chat in chat_abilities()] == tg.chat_templates()
    assert [agent.name for agent in agent_abilities()] == tg.agent_templates()


def test_what_makers_templates_show():
    chats = {chat.name: chat for chat in chat_abilities()}
    smollm2, qwen3, llama = chats["smollm2"], chats["qwen3"], chats["llama3_1"]
    assert (smollm2.tools, smollm2.calls, smollm2.agent) == (False, False, "hermes")
    assert (qwen3.tools, qwen3.calls, qwen3.parallel, qwen3.thinking) == (True,) * 4
    assert (llama.calls, llama.parallel) == (True, False)
    assert "enable_thinking" in qwen3.options
    assert qwen3.exactness.equal == qwen3.exactness.records > 0


def test_agent_templates_show_a_call():
    agents = {agent.name: agent for agent in agent_abilities()}
    assert agents["hermes"].exact
    assert "look_up" in agents["hermes"].example
    assert agents["minimax_m3"].grammar
    assert agents["hermes"].grammar
    assert all(agent.grammar for agent in agents.values())
    assert agents["react_en"].stop == "Observation:"
    assert all("look_up" in agent.example for agent in agents.values())
