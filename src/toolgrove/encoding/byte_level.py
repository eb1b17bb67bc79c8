"""A small tokenizer made on the spot: any text, in pieces of a few bytes, for serving scripts."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.encoding.tokenizer import Tokenizer, load_tokenizer
from toolgrove.templates.dialect import Dialect

_SIZE = 1024
_MARK = re.compile(r"<\|[^|<>\s]+\|>")
_HELLO = Conversation((Message(Role.USER, "Hello"),))


def byte_level_tokenizer(
    dialect: Dialect, texts: Iterable[str], folder: Path | None = None
) -> Tokenizer:
    """A byte-level tokenizer with the dialect's control tokens and words of the texts.

    It is written into ``folder`` (None: a temporary one, which goes when the tokenizer does).
    Needs neither a model nor a network.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    if folder is None:
        lent = TemporaryDirectory(prefix="toolgrove-")
        tokenizer = byte_level_tokenizer(dialect, texts, Path(lent.name))
        weakref.finalize(tokenizer, lent.cleanup)
        return tokenizer
    prompt = dialect.prompt(_HELLO)
    marks = dict.fromkeys([*_MARK.findall(prompt), *filter(_MARK.fullmatch, dialect.stops)])
    made = Backend(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        min_frequency=1,
        special_tokens=list(marks),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([prompt, *texts], trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1 << 20}))
    return load_tokenizer(folder)
