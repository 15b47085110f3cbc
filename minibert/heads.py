"""The heads: three models of pre-training and four of fine-tuning (paper, sections 3.1 and 4).

Each head is the encoder, one or two dense layers, and with labels a loss (losses.py).  All take BertModel's arguments
(``input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds`` and, in ``options``, ``output_attentions``,
``output_hidden_states``, ``return_dict``), and ``labels``.  Heads whose loss is one mean also take
``num_items_in_batch``, as transformers' Trainer passes it: the sum over the labels is divided by it, so that
micro-batches add up to the loss of their batch.  Start with BertForMaskedLM; the others differ in a few lines.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import ConfigError, InputError
from minibert.inputs import check_choices
from minibert.losses import Count, classification_loss, cross_entropy, position_loss
from minibert.model import BertModel, activation
from minibert.outputs import BertModelOutput, HeadOutput, PreTrainingOutput, QuestionAnsweringOutput
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Observable

Output = TypeVar("Output", HeadOutput, PreTrainingOutput, QuestionAnsweringOutput)


class BertPredictionHeadTransform(Observable):
    """One more layer before the vocabulary: dense, activation, normalisation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.point("transform_act_fn", self.transform_act_fn(self.dense(hidden_states)))
        hidden_states = self.LayerNorm(hidden_states)
        return hidden_states  # (B, T, H)


class BertLMPredictionHead(nn.Module):
    """A score for every piece of the vocabulary: the product of the vector and the piece's embedding, plus a bias."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)  # its weight is the word embedding: tie_weights
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # the decoder's bias, under its published name

    def forward(self, hidden_states: Tensor) -> Tensor:
        scores: Tensor = self.decoder(self.transform(hidden_states))
        return scores  # (B, T, V)


class BertOnlyMLMHead(nn.Module):
    """The masked-language-modelling head alone."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)

    def forward(self, hidden_states: Tensor) -> Tensor:
        scores: Tensor = self.predictions(hidden_states)
        return scores  # (B, T, V)


class BertOnlyNSPHead(nn.Module):
    """The next-sentence head alone."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled_output: Tensor) -> Tensor:
        scores: Tensor = self.seq_relationship(pooled_output)
        return scores  # (B, 2)


class BertPreTrainingHeads(nn.Module):
    """Both heads of pre-training."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, hidden_states: Tensor, pooled_output: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictions(hidden_states), self.seq_relationship(pooled_output)  # (B, T, V), (B, 2)


class BertHead(BertPreTrainedModel):
    """What all heads share: how a head runs its encoder."""

    bert: BertModel
    accepts_loss_kwargs = True  # for transformers' Trainer: forward divides by num_items_in_batch itself

    def encode(self, inputs: tuple[Tensor | None, ...], options: dict[str, Any]) -> BertModelOutput:
        """The encoder's output as a record, whatever ``return_dict`` says: the head reads it by name."""
        outputs: BertModelOutput = self.bert(*inputs, **{**options, "return_dict": True})
        return outputs

    def finish(
        self, head_output: Output, outputs: BertModelOutput, options: dict[str, Any]
    ) -> Output | tuple[Any, ...]:
        """The head's record with the encoder's hidden states and attentions, or a tuple, as ``return_dict`` says."""
        head_output.hidden_states, head_output.attentions = outputs.hidden_states, outputs.attentions
        return self.as_asked(head_output, options.get("return_dict"))


class BertMLMBase(BertHead):
    """What the two heads with a vocabulary share: the tied decoder (paper, appendix A.2)."""

    cls: nn.Module

    def tied_names(self) -> dict[str, str]:
        """The decoder's weight is the word embedding; its bias is the head's own."""
        if not self.config.tie_word_embeddings:
            return {}
        return {
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        }

    def tie_weights(self) -> None:
        """Tie the decoder's weight and bias, unless ``tie_word_embeddings`` is off."""
        for name, source in self.tied_names().items():
            module_name, _, attribute = name.rpartition(".")
            setattr(self.get_submodule(module_name), attribute, self.get_parameter(source))

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder: its rows are the word embeddings, unless ``tie_word_embeddings`` is off."""
        decoder: nn.Linear = self.cls.get_submodule("predictions.decoder")  # type: ignore[assignment]
        return decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder by another one with a bias; ``tie_weights`` ties it to the word embeddings again.

        Raises InputError for anything but an ``nn.Linear`` with a bias.
        """
        if not isinstance(new_embeddings, nn.Linear) or new_embeddings.bias is None:
            raise InputError("set_output_embeddings takes an nn.Linear with a bias: H inputs, a score for every piece.")
        predictions: Any = self.cls.get_submodule("predictions")
        predictions.decoder, predictions.bias = new_embeddings, new_embeddings.bias


class BertForPreTraining(BertMLMBase):
    """Both tasks of pre-training at once (paper, section 3.1)."""

    accepts_loss_kwargs = False  # its loss is two means, over different numbers of labels

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,  # (B, T): the pieces behind the masks; -100 elsewhere
        next_sentence_label: Tensor | None = None,  # (B,): 0 when B follows A, 1 when B is random
        **options: Any,
    ) -> PreTrainingOutput | tuple[Any, ...]:
        """Return prediction_logits (B, T, V), seq_relationship_logits (B, 2), and with both labels MLM + NSP loss."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        prediction_logits, relationship_logits = self.cls(outputs.last_hidden_state, outputs.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            masked_lm_loss = cross_entropy(prediction_logits, labels)
            loss = masked_lm_loss + cross_entropy(relationship_logits, next_sentence_label, name="next_sentence_label")
        return self.finish(PreTrainingOutput(loss, prediction_logits, relationship_logits), outputs, options)


class BertForMaskedLM(BertMLMBase):
    """Predicts the pieces behind the masks."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,  # (B, T): the pieces behind the masks; -100 elsewhere
        num_items_in_batch: Count = None,
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, T, V) and, with labels, the mean cross-entropy over the masked positions, in nats."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.cls(outputs.last_hidden_state)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForNextSentencePrediction(BertHead):
    """Predicts whether sentence B follows sentence A."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertOnlyNSPHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,  # (B,): 0 when B follows A, 1 when B is random
        num_items_in_batch: Count = None,
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, 2) and, with labels, the mean cross-entropy."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.cls(outputs.pooler_output)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForSequenceClassification(BertHead):
    """One class, several classes, or a number for a text or a pair of texts (paper, figure 4 a and b)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,  # (B,) int64; several classes: (B, labels) float; a number: (B,) float
        num_items_in_batch: Count = None,
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, labels) and, with labels, the loss that ``config.problem_type`` names.

        If it is None: one label is regression, integer labels are classes, anything else is several classes.
        """
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None
        if labels is not None:
            loss = classification_loss(logits, labels, self.config.problem_type, num_items_in_batch)
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForMultipleChoice(BertHead):
    """Which of C continuations fits (paper, section 4.4): a score for each, and softmax over them."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,  # (B, C, T): C choices; the others likewise
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,  # (B, C, T, H)
        labels: Tensor | None = None,  # (B,): the number of the right choice
        num_items_in_batch: Count = None,
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, C) and, with labels, the mean cross-entropy."""
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        C = check_choices(inputs)
        flat = tuple(None if x is None else x.flatten(0, 1) for x in inputs)  # (B · C, T)
        outputs = self.encode(flat, options)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, C)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForTokenClassification(BertHead):
    """A class for every token, such as entities (paper, figure 4 d)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,  # (B, T), -100 for ignored tokens
        num_items_in_batch: Count = None,
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, T, labels) and, with labels, the mean cross-entropy."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForQuestionAnswering(BertHead):
    """Predicts where the answer starts and ends (paper, section 4.2)."""

    accepts_loss_kwargs = False  # it has two kinds of labels

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"num_labels is {config.num_labels}; question answering has 2 scores, start and end.")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,  # (B,); a position outside the sequence is ignored
        end_positions: Tensor | None = None,  # (B,)
        **options: Any,
    ) -> QuestionAnsweringOutput | tuple[Any, ...]:
        """Return start_logits and end_logits (B, T) and, with positions, the mean of the two cross-entropies."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.qa_outputs(outputs.last_hidden_state)  # (B, T, 2)
        start_logits, end_logits = (scores.squeeze(-1).contiguous() for scores in logits.split(1, dim=-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            start_loss = position_loss(start_logits, start_positions, "start_positions")
            loss = (start_loss + position_loss(end_logits, end_positions, "end_positions")) / 2
        return self.finish(QuestionAnsweringOutput(loss, start_logits, end_logits), outputs, options)


def classifier_dropout(config: BertConfig) -> nn.Dropout:
    """The dropout before a classifier: its own probability, or the model's."""
    rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
    return nn.Dropout(rate)
