"""The tokenizer made on the spot."""

import gc

from toolgrove.encoding.byte_level import byte_level_tokenizer
from toolgrove.templates.dialect import dialect


def test_its_folder_goes_with_it():
    tokenizer = byte_level_tokenizer(dialect("chatml", "hermes"), ["Hi"])
    folder = tokenizer.folder
    assert tokenizer.decode(tokenizer.encode("Grüße 🙂")) == "Grüße 🙂"
    assert folder.exists()
    del tokenizer
    gc.collect()
    assert not folder.exists()
