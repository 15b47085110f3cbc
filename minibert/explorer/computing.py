"""The page that computes: the model, its tokenizer and the engine (static/engine/) in one file.

Such a page holds no run: the engine makes the first one when the page is opened, and every later one.
"""

from collections.abc import Sequence
from typing import Any

import torch

from minibert.errors import InputError
from minibert.explorer import packing, views
from minibert.explorer.content import SAMPLES, STD, model_for_page
from minibert.explorer.live import CHARACTERS_LIVE, LONGEST_TEXT, check_length
from minibert.explorer.page import page_html
from minibert.explorer.steps import EMBEDDINGS
from minibert.explorer.text import Text, tokenize
from minibert.explorer.values import hidden_states, relative_change
from minibert.explorer.weights import PackedWeights, pack_weights, with_weights
from minibert.palette import SCALES
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.portable import settings_of, unicode_data, vocabulary_of


def computing_page(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    texts: Sequence[Text],
    *,
    name: str,
    int8: bool = False,
    samples: int | None = None,
) -> str:
    """The HTML of a page in which ``model`` runs, with its first one or two ``texts``.

    ``int8``: the weights as int8 (weights.py).  ``samples``: noise samples for each position of a sensitivity map.
    Raises InputError for a text that is empty or too long, and for a model that is too large for a page.
    """
    if model.training:
        raise InputError("The model is in training mode, where dropout changes every value: call model.eval() first.")
    check_length(texts)
    packed = pack_weights(model, int8=int8)
    weights = {"dtype": packed.dtype, "exact": packed.exact, "change": change_of(model, tokenizer, texts, packed)}
    content = {
        "live": True,
        "palette": SCALES,
        "model": model_for_page(model, tokenizer, name) | {"weights": weights},
        "texts": list(texts),
        "engine": {
            "config": model.config.to_dict(),
            "table": packed.table,
            "compressed": packed.compressed,
            "size": len(packed.content),
            "tokenizer": {
                "settings": settings_of(tokenizer),
                "vocabulary": vocabulary_of(tokenizer),
                "tables": unicode_data(),
            },
            "limits": limits(SAMPLES if samples is None else samples),
        },
    }
    return page_html(content, packed.text)


def limits(samples: int) -> dict[str, Any]:
    """The numbers that bound an answer, the same as the server's; and where the embeddings stand."""
    return {
        "characters": LONGEST_TEXT,
        "numbers": CHARACTERS_LIVE,
        "sensitivity": packing.SENSITIVITY_LIMIT,
        "per_head": packing.PER_HEAD,
        "neurons": packing.NEURONS,
        "top_k": views.TOP_K,
        "matched": views.MATCHED,
        "embeddings": len(EMBEDDINGS),
        "embedding_points": EMBEDDINGS,
        "samples": samples,
        "std": STD,
    }


def change_of(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, texts: Sequence[Text], packed: PackedWeights
) -> float:
    """The largest relative change of a last hidden state of ``texts`` when the page's weights replace the model's."""
    read = [tokenize(model, tokenizer, text).inputs for text in texts]
    if packed.exact:
        return 0.0
    rounded = with_weights(model, packed)
    with torch.no_grad():
        changes = [
            relative_change(hidden_states(rounded, inputs)[-1], hidden_states(model, inputs)[-1]) for inputs in read
        ]
    return max(float(change.max()) for change in changes)
