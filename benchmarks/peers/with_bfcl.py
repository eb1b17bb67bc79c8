"""bfcl_eval as it is installed in this environment: its own verdicts, and its own runner.

``score`` reads JSON lines ``{"id", "category", "result"}`` and prints each one's verdict by the
functions of its ``eval_runner``. ``run URL THREADS FOLDER`` has its generation ask a server for the
cases whose ids come as JSON lines. Its table of models imports every vendor's library, and its
parsers of prompted replies need compiled grammars: stand-ins take their places, since tool calls
over OpenAI's API need neither.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

MODEL = "measured"


def stand_in(name: str, **values: object) -> None:
    module = ModuleType(name)
    module.__dict__.update(values)
    sys.modules[name] = module


def prepared(underscores: bool) -> dict[str, SimpleNamespace]:
    parsers = "bfcl_eval.model_handler.parser"
    for name in ("java", "js", "json", "xml"):
        words = ("java", "javascript", "json", "concise_xml", "verbose_xml")
        stand_in(f"{parsers}.{name}_parser", **{f"parse_{w}_function_call": None for w in words})
    oss = "bfcl_eval.model_handler.local_inference.base_oss_handler"
    stand_in(oss, OSSHandler=type("OSSHandler", (), {}))
    models: dict[str, SimpleNamespace] = {}
    stand_in("bfcl_eval.constants.model_config", MODEL_CONFIG_MAPPING=models)
    from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler

    models[MODEL] = SimpleNamespace(
        model_name=MODEL,
        model_handler=OpenAICompletionsHandler,
        is_fc_model=True,
        underscore_to_dot=underscores,
    )
    return models


def score() -> None:
    prepared(underscores=False)
    from bfcl_eval.constants.enums import Language, ReturnFormat
    from bfcl_eval.eval_checker import eval_runner as theirs
    from bfcl_eval.utils import load_dataset_entry, load_ground_truth_entry

    handler = theirs.get_handler(MODEL)
    entries: dict[str, dict[str, dict]] = {}
    gold: dict[str, dict[str, list]] = {}
    for line in sys.stdin:
        row = json.loads(line)
        category, name = row["category"], row["id"]
        irrelevant = theirs.is_relevance_or_irrelevance(category)
        if category not in entries:
            found = load_dataset_entry(
                category, include_prereq=False, include_language_specific_hint=False
            )
            entries[category] = {entry["id"]: entry for entry in found}
            answers = [] if irrelevant else load_ground_truth_entry(category)
            gold[category] = {
                entry["id"]: answer["ground_truth"]
                for entry, answer in zip(found, answers, strict=False)
            }
        entry = entries[category][name]
        told = (handler, name, row["result"])
        if irrelevant:
            said = theirs._evaluate_single_relevance_entry(*told, entry, MODEL, category)
        elif theirs.is_multi_turn(category):
            right = gold[category][name]
            said = theirs._evaluate_single_multi_turn_entry(
                *told, right, dict(entry), name, category
            )
        else:
            language = Language.PYTHON
            if "java" in category:
                language = Language.JAVA if category == "simple_java" else Language.JAVASCRIPT
            right = gold[category][name]
            kinds = {"language": language, "return_format": ReturnFormat.PYTHON}
            said = theirs._evaluate_single_ast_entry(*told, right, entry, MODEL, category, **kinds)
        print(json.dumps({"id": name, "valid": bool(said["valid"])}), flush=True)


def run(url: str, threads: str, folder: str) -> None:
    os.environ |= {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
    prepared(underscores=True)
    from bfcl_eval._llm_response_generation import generate_results
    from bfcl_eval.utils import load_dataset_entry

    wanted: dict[str, set[str]] = {}
    for line in sys.stdin:
        row = json.loads(line)
        wanted.setdefault(row["category"], set()).add(row["id"])
    cases = [
        entry
        for category, ids in wanted.items()
        for entry in load_dataset_entry(category)
        if entry["id"] in ids
    ]
    settings = SimpleNamespace(
        temperature=0.0,
        num_threads=int(threads),
        include_input_log=False,
        exclude_state_log=True,
        result_dir=Path(folder),
        run_ids=False,
    )
    clock = time.monotonic()
    generate_results(settings, MODEL, cases)
    found = [line for file in Path(folder).rglob("*.json") for line in file.open(encoding="utf-8")]
    failed = [line for line in found if "Error during inference" in line]
    if failed or len(found) != len(cases):
        sys.exit(f"{len(found)} of {len(cases)} answered, {len(failed)} failed: {failed[:1]}")
    print(json.dumps({"seconds": time.monotonic() - clock, "cases": len(cases)}))


if __name__ == "__main__":
    {"score": score, "run": run}[sys.argv[1]](*sys.argv[2:])
