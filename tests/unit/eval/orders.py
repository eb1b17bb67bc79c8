"""Made-up requests to order things, for rows to practise with."""

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.eval.bfcl import tool
from toolgrove.eval.cases import Accepted, Case, Verdict


class Agreeing:
    """A checker that finds nothing wrong."""

    def check(self, case, calls) -> Verdict:
        return Verdict(right=True)


def function(number: int, kind: str = "integer") -> dict:
    return {
        "name": f"shop.order_{number}",
        "description": f"Orders the item number {number} from a shop. Fast.",
        "parameters": {
            "type": "dict",
            "properties": {"count": {"type": kind}, "note": {"type": "string"}},
            "required": ["count"],
        },
    }


def case(number: int, *others: int, text: str | None = None) -> Case:
    functions = tuple(function(n) for n in (number, *others))
    said = text or f"Order {100 + number} pieces for customer {number}."
    talk = Conversation((Message(Role.USER, said),), tuple(tool(f) for f in functions))
    gold = Accepted(functions[0]["name"], {"count": [100 + number], "note": ["", "x-y-z"]})
    return Case(f"case_{number}", "made", talk, functions, (gold,))
