"""Turns in words: after a result, where no tool fits, where something is missing, small talk."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.eval.cases import Case
from toolgrove.eval.drill import Words
from toolgrove.eval.labels import Labelled

_NO_TOOL = (
    "None of my tools can do that as it is asked.",
    "I'm sorry, I can't do that with the tools that I have.",
    "I can't do that with my tools.",
    "My tools are not enough for that.",
)
"""True also where a tool would fit if the request told more."""
_TALK = (
    ("Hi there!", "Hello! What can I do for you?"),
    ("Good morning.", "Good morning! How can I help?"),
    ("Thanks a lot!", "You're welcome!"),
    ("That was all, bye.", "Goodbye!"),
    ("Who are you?", "I am an assistant that can use tools for you."),
    ("What is 6 times 7?", "6 times 7 is 42."),
    ("How many minutes are in two hours?", "Two hours have 120 minutes."),
    ("What is half of 90?", "Half of 90 is 45."),
    ("Which city is the capital of Portugal?", "The capital of Portugal is Lisbon."),
    ("What is the capital of Kenya?", "The capital of Kenya is Nairobi."),
    ("Which is the largest ocean?", "The Pacific is the largest ocean."),
    ("What do bees make?", "Bees make honey."),
    ("What colour do blue and yellow make?", "Blue and yellow make green."),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted the Mona Lisa."),
    ("What is the opposite of cheap?", "The opposite of cheap is expensive."),
    ("What does the word annual mean?", "Annual means that something happens every year."),
    ("How do you say thank you in Spanish?", "Thank you is gracias in Spanish."),
    ("At what temperature does water boil?", "Water boils at 100 degrees Celsius."),
    ("How many legs has a spider?", "A spider has eight legs."),
    ("Name a planet with rings.", "Saturn has rings."),
    ("Tell me something nice.", "You are doing well, and it is good to talk to you."),
    ("Write a greeting for a birthday card.", "Happy birthday and all the best!"),
    ("Spell the word rhythm.", "It is spelled r-h-y-t-h-m."),
    ("Is a whale a fish?", "No, a whale is a mammal."),
)
_DONE: tuple[tuple[JSON, str], ...] = (
    ({"status": "success"}, "Done."),
    ({"success": True}, "That is done."),
    ({"error": "not found"}, "Nothing was found."),
    ({"error": "invalid request"}, "That did not work: the request was not valid."),
    ({"error": "service unavailable"}, "That did not work: the service is not available now."),
)
_NUMBERS = ("result", "price", "total", "distance", "amount", "score", "rating", "level", "count")
_TEXTS = ("name", "status", "title", "place", "type", "summary", "category")
_SIMPLE = 0.25
"""How often a result says only that something was done, or why not."""


def answered(request: Labelled, words: Words, rng: random.Random) -> Labelled:
    """The request of one call with a made-up result of it and the answer in words."""
    result, answer = _outcome(words, rng)
    told = Message(Role.TOOL, json.dumps(result), name=request.calls[0].name)
    return replace(request, after=(told, Message(Role.ASSISTANT, answer)))


def unfit(request: Labelled, rng: random.Random) -> Labelled:
    """The request where there is no tool for it: the answer says so."""
    return replace(request, calls=(), after=(Message(Role.ASSISTANT, rng.choice(_NO_TOOL)),))


def small_talk(rng: random.Random) -> Labelled:
    """Something said or asked for which nobody needs a tool, and the answer."""
    said, answer = rng.choice(_TALK)
    case = Case("small talk", "small_talk", Conversation((Message(Role.USER, said),)), (), ())
    return Labelled(case, (), grounded=True, after=(Message(Role.ASSISTANT, answer),))


def _outcome(words: Words, rng: random.Random) -> tuple[JSON, str]:
    """A result, and what it says."""
    if rng.random() < _SIMPLE:
        return rng.choice(_DONE)
    numbers = rng.sample(_NUMBERS, rng.choice((0, 1, 1, 2)))
    texts = rng.sample(_TEXTS, rng.choice((0, 1)) if numbers else 1) if words.any else []
    result: JSON = {name: rng.choice(words.any) for name in texts}
    for name in numbers:
        result[name] = round(rng.uniform(1, 999), rng.choice((1, 2)))
    told = " and the ".join(f"{name} is {value}" for name, value in result.items())
    return result, f"The {told}." if told else "Done."
