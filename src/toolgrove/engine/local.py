"""Generation on this machine: batched decoding over transformers, with live adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ModelError, did_you_mean
from toolgrove.core.messages import JSON
from toolgrove.engine.base import Chunk, Sampling, check_prompt
from toolgrove.engine.text import ReplyText

if TYPE_CHECKING:
    from toolgrove.encoding.constrain import Constrainer
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.models.choose import Draw

BATCH_ROWS = 64
BATCH_TOKENS = 32768


class LocalEngine:
    """A model in memory that answers batches of prompts.

    Prompts are sorted by length and run in batches under a token budget; a reply that has ended
    leaves its batch at once. One engine serves one stream at a time. ``as_it_is``: with the adapter
    that is on the model, which is being trained; it is neither switched nor left away.
    """

    def __init__(
        self, model: Any, tok: Tokenizer, eos: Sequence[int] = (), *, as_it_is: bool = False
    ) -> None:
        from toolgrove.models.head import head_is_plain

        self.model = model
        self.tok = tok
        self.ends = frozenset(eos) | _declared_eos(model)
        self._adapters: list[str] = []
        self._active: str | None = None
        self._as_it_is = as_it_is
        self._constrainers: dict[tuple[str, ...], Constrainer] = {}
        self._plain_head = head_is_plain(model)

    @classmethod
    def load(
        cls,
        folder: Path,
        adapters: Mapping[str, Path] | None = None,
        *,
        dtype: str = "auto",
    ) -> LocalEngine:
        """The model in ``folder`` on the best device; the first of the adapters is switched on.

        The base is held in as few bits as the first adapter's was, and its tokenizer is the
        adapter's where that knows more tokens.
        """
        from toolgrove.encoding.tokenizer import load_tokenizer
        from toolgrove.models.base import read_base
        from toolgrove.models.device import place
        from toolgrove.models.grouped import group_queries
        from toolgrove.models.load import load_model
        from toolgrove.models.threads import use_cores
        from toolgrove.models.vocabulary import tokenizer_of

        use_cores()
        placement = place(dtype)
        first = Path(next(iter(adapters.values()))) if adapters else None
        base = read_base(first) if first else None
        model = load_model(
            Path(folder),
            placement.dtype,
            device=placement.device,
            quantization=base.quantization if base else None,
        )
        group_queries(model)
        engine = cls(model, load_tokenizer(tokenizer_of(Path(folder), first)))
        for name, path in (adapters or {}).items():
            engine.load_adapter(name, Path(path))
        if adapters:
            engine.use(next(iter(adapters)))
        return engine

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that are loaded."""
        return tuple(self._adapters)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Loads a trained adapter under a name; which one is in use does not change."""
        from toolgrove.models.adapters import adapter_errors, check_adapter, load_adapter
        from toolgrove.models.base import check_base

        if name in self._adapters:
            raise ModelError(f'there already is an adapter "{name}"', hint="unload it first")
        if not self._is_peft():
            base: Any = self.model
            self.model = load_adapter(base, folder, name)
        else:
            check_adapter(folder)
            check_base(self.model, folder)
            with adapter_errors(folder):
                self.model.load_adapter(str(folder), name, autocast_adapter_dtype=False)
        self.model.eval()
        self._adapters.append(name)

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter; when it was in use, the base model answers from then on."""
        self._known(name)
        self._adapters.remove(name)
        if self._active == name:
            self._active = None
        if self._adapters:
            self.model.delete_adapter(name)
        else:
            self.model = self.model.unload()

    def use(self, name: str | None) -> None:
        """Switches to an adapter, or with None to the bare base model."""
        if name is not None:
            self._known(name)
            self.model.set_adapter(name)
        self._active = name

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        grammars: Sequence[JSON | None] = (),
    ) -> Iterator[Chunk]:
        """Chunks for all prompts, as each token is generated.

        ModelError when replies are to be held to grammars and xgrammar is not installed.
        """
        held = {row: grammar for row, grammar in enumerate(grammars) if grammar is not None}
        yield from self.answer(dict(enumerate(prompts)), sampling, held)

    def answer(
        self,
        prompts: Mapping[int, Sequence[int]],
        sampling: Sampling,
        grammars: Mapping[int, JSON],
    ) -> Iterator[Chunk]:
        """Chunks for prompts by their numbers; a number decides what a seed draws for it."""
        for index, prompt in prompts.items():
            check_prompt(prompt, self.context, f"prompt {index}")
        constrainer = self.constrainer(sampling.stop) if grammars else None
        for rows in _batches(prompts):
            draws = {row: _draw(sampling, row) for row in rows}
            for row in rows:
                if constrainer is not None and row in grammars:
                    draws[row].matcher = constrainer.matcher(grammars[row])
            yield from self._batch({row: prompts[row] for row in rows}, sampling, draws)

    def constrainer(self, stops: Sequence[str]) -> Constrainer:
        """What holds replies to grammars, until one of these stops or an end that the model
        declares; kept. ModelError when xgrammar is not installed."""
        from toolgrove.encoding.constrain import Constrainer

        control = self.tok.control_ids
        key = tuple(stop for stop in stops if stop in control)
        if key not in self._constrainers:
            ends = [token for token, number in control.items() if number in self.ends]
            size = int(self.model.config.get_text_config().vocab_size)
            try:
                made = Constrainer(self.tok, [*key, *ends], size)
            except ModuleNotFoundError as error:
                raise ModelError(
                    "replies can only be held to a grammar with xgrammar",
                    hint="pip install 'toolgrove[grammar]'",
                ) from error
            self._constrainers[key] = made
        return self._constrainers[key]

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 30)

    def _is_peft(self) -> bool:
        return hasattr(self.model, "peft_config")

    def _known(self, name: str) -> None:
        if name not in self._adapters:
            near = did_you_mean(name, self._adapters)
            known = ", ".join(self._adapters) or "none"
            raise ModelError(f'no adapter "{name}"', hint=near or f"loaded: {known}")

    def _bare(self) -> AbstractContextManager[Any]:
        if self._is_peft() and self._active is None and not self._as_it_is:
            return self.model.disable_adapter()
        return nullcontext()

    def _answering(self) -> Any:
        """The model that answers: a learnt prompt that is not in use stands outside of it."""
        from toolgrove.models.prompted import is_prompted

        bare = self._active is None and not self._as_it_is and is_prompted(self.model)
        return self.model.get_base_model() if bare else self.model

    def _batch(
        self, prompts: Mapping[int, Sequence[int]], sampling: Sampling, draws: Mapping[int, Draw]
    ) -> Iterator[Chunk]:
        import torch

        from toolgrove.models.choose import choose
        from toolgrove.models.decode import Batch

        stop_ids, stop_texts = self.stops(sampling)
        replies = {row: ReplyText(self.tok.decode, stop_texts) for row in prompts}
        room = {
            row: min(sampling.max_new_tokens, self.context - len(prompt))
            for row, prompt in prompts.items()
        }
        with torch.inference_mode(), self._bare():
            batch = Batch(self._answering(), prompts, plain_head=self._plain_head)
        while batch.rows:
            chosen = choose(batch.logits(), [draws[row] for row in batch.rows])
            tokens = [one.token for one in chosen]
            chunks = [
                self._chunk(row, token, replies[row], token in stop_ids, room)
                for row, token in zip(batch.rows, tokens, strict=True)
            ]
            yield from chunks
            with torch.inference_mode(), self._bare():
                batch.take(tokens, keep=[chunk.finish is None for chunk in chunks])

    def _chunk(
        self, row: int, token: int, reply: ReplyText, stop: bool, room: dict[int, int]
    ) -> Chunk:
        room[row] -= 1
        return Chunk(row, (token,), *reply.take(token, stop=stop, last=room[row] <= 0))

    def stops(self, sampling: Sampling) -> tuple[frozenset[int], tuple[str, ...]]:
        """The stops that are control tokens, and those that must be looked for in the text."""
        ids = {stop: self.tok.control_ids.get(stop) for stop in sampling.stop}
        texts = tuple(stop for stop, token in ids.items() if token is None)
        return self.ends | {token for token in ids.values() if token is not None}, texts


def _draw(sampling: Sampling, row: int) -> Draw:
    """How the tokens of a prompt's reply are drawn: the same whatever else is in the batch."""
    from toolgrove.models.choose import Draw, dice_for

    seed = None if sampling.seed is None else sampling.seed * 1_000_003 + row
    return Draw(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        dice=dice_for(seed),
    )


def _declared_eos(model: Any) -> frozenset[int]:
    """The end tokens that the model's own generation settings and configuration name."""
    found: set[int] = set()
    for settings in (getattr(model, "generation_config", None), model.config):
        eos = getattr(settings, "eos_token_id", None)
        if eos is not None:
            found.update([eos] if isinstance(eos, int) else eos)
    return frozenset(found)


def _batches(prompts: Mapping[int, Sequence[int]]) -> Iterator[list[int]]:
    """Rows in batches, the longest first, each batch within the row and token budgets."""
    order = sorted(prompts, key=lambda row: -len(prompts[row]))
    batch: list[int] = []
    for row in order:
        longest = len(prompts[batch[0]]) if batch else 0
        if batch and (len(batch) == BATCH_ROWS or (len(batch) + 1) * longest > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
