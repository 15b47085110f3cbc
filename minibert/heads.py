"""What stands on the tree: the two heads of pre-training and the four of fine-tuning (paper, sections 3.1 and 4).

Each head is the encoder, one or two dense layers, and a loss when labels are given.  All take what BertModel takes
(``input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds`` and the ``output_…`` switches) and add
``labels``.  Start with BertForMaskedLM; the others differ from it in a few lines.
"""

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import ConfigError, InputError
from minibert.model import BertModel, activation
from minibert.outputs import BertModelOutput, HeadOutput, PreTrainingOutput, QuestionAnsweringOutput
from minibert.points import Observable
from minibert.pretrained import BertPreTrainedModel

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
    """Scores for every piece of the vocabulary: how much the vector resembles that piece's embedding."""

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
    """The part every head shares: how it runs the encoder under it."""

    bert: BertModel

    def encode(self, inputs: tuple[Tensor | None, ...], options: dict[str, Any]) -> BertModelOutput:
        """The encoder's output as a record, whatever ``return_dict`` says: the head reads it by name."""
        outputs: BertModelOutput = self.bert(*inputs, **{**options, "return_dict": True})
        return outputs

    def finish(
        self, head_output: Output, outputs: BertModelOutput, options: dict[str, Any]
    ) -> Output | tuple[Any, ...]:
        """The head's record with the encoder's insides added, in the form the caller asked for."""
        head_output.hidden_states, head_output.attentions = outputs.hidden_states, outputs.attentions
        return self.as_asked(head_output, options.get("return_dict"))


class BertMLMBase(BertHead):
    """The part that the two heads with a vocabulary share: the tied decoder (paper, appendix A.2)."""

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
        """Make the two pairs one tensor each, unless ``tie_word_embeddings`` is off."""
        for name, source in self.tied_names().items():
            module_name, _, attribute = name.rpartition(".")
            setattr(self.get_submodule(module_name), attribute, self.get_parameter(source))


class BertForPreTraining(BertMLMBase):
    """Both tasks of pre-training at once (paper, section 3.1)."""

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
        labels: Tensor | None = None,  # (B, T): the pieces behind the masks; -100 where there is nothing to guess
        next_sentence_label: Tensor | None = None,  # (B,): 0 when B follows A, 1 when B is random
        **options: Any,
    ) -> PreTrainingOutput | tuple[Any, ...]:
        """Return prediction_logits (B, T, V), seq_relationship_logits (B, 2), and with both labels MLM + NSP loss."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        prediction_logits, relationship_logits = self.cls(outputs.last_hidden_state, outputs.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            masked_lm_loss = F.cross_entropy(prediction_logits.view(-1, self.config.vocab_size), labels.view(-1))
            loss = masked_lm_loss + F.cross_entropy(relationship_logits.view(-1, 2), next_sentence_label.view(-1))
        return self.finish(PreTrainingOutput(loss, prediction_logits, relationship_logits), outputs, options)


class BertForMaskedLM(BertMLMBase):
    """Which pieces stood behind the masks."""

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
        labels: Tensor | None = None,  # (B, T), -100 where there is nothing to guess
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, T, V) and, with labels, the mean cross-entropy over the masked positions, in nats."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.cls(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.view(-1))
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForNextSentencePrediction(BertHead):
    """Does sentence B follow sentence A."""

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
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, 2) and, with labels, the mean cross-entropy."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.cls(outputs.pooler_output)
        loss = None if labels is None else F.cross_entropy(logits.view(-1, 2), labels.view(-1))
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForSequenceClassification(BertHead):
    """A class, several classes, or a number for a text or a pair of texts (paper, figure 4 a and b)."""

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
        labels: Tensor | None = None,  # (B,) int64; several at once: (B, labels) float; a number: (B,) float
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, labels) and, with labels, the loss that ``config.problem_type`` names.

        Where it names none: one label is regression, whole numbers are classes, anything else is several at once.
        """
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else self.loss(logits, labels)
        return self.finish(HeadOutput(loss, logits), outputs, options)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error, cross-entropy, or one binary cross-entropy a label."""
        problem = self.config.problem_type
        if problem == "regression" or (problem is None and self.num_labels == 1):
            if self.num_labels == 1:
                return F.mse_loss(logits.squeeze(), labels.squeeze())
            return F.mse_loss(logits, labels)
        if problem == "single_label_classification" or (problem is None and labels.dtype in (torch.long, torch.int)):
            return F.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1))
        if problem in ("multi_label_classification", None):
            return F.binary_cross_entropy_with_logits(logits, labels)
        raise ConfigError(
            f"problem_type is {problem!r}; expected 'regression', 'single_label_classification' or "
            "'multi_label_classification'."
        )


class BertForMultipleChoice(BertHead):
    """Which of C continuations fits (paper, section 4.4): one score for each, softmax across them."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,  # (B, C, T): C choices; so are the others
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,  # (B, C, T, H)
        labels: Tensor | None = None,  # (B,): the number of the right choice
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, C) and, with labels, the mean cross-entropy."""
        given = input_ids if input_ids is not None else inputs_embeds
        expected = 3 if given is input_ids else 4
        if given is None or given.dim() != expected:
            found = "neither of them" if given is None else f"shape {tuple(given.shape)}"
            raise InputError(f"Multiple choice reads input_ids (B, C, T) or inputs_embeds (B, C, T, H); found {found}.")
        C = given.shape[1]
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        flat = tuple(None if x is None else x.flatten(0, 1) for x in inputs)  # (B · C, T)
        outputs = self.encode(flat, options)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, C)
        loss = None if labels is None else F.cross_entropy(logits, labels)
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
        labels: Tensor | None = None,  # (B, T), -100 for tokens that do not count
        **options: Any,
    ) -> HeadOutput | tuple[Any, ...]:
        """Return logits (B, T, labels) and, with labels, the mean cross-entropy."""
        outputs = self.encode((input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds), options)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None if labels is None else F.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1))
        return self.finish(HeadOutput(loss, logits), outputs, options)


class BertForQuestionAnswering(BertHead):
    """Where the answer starts and ends (paper, section 4.2)."""

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
            start_loss = position_loss(start_logits, start_positions)
            loss = (start_loss + position_loss(end_logits, end_positions)) / 2
        return self.finish(QuestionAnsweringOutput(loss, start_logits, end_logits), outputs, options)


def position_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Cross-entropy of (B, T) scores against (B,) positions; answers that were cut off do not count."""
    T = logits.shape[1]
    return F.cross_entropy(logits, positions.view(-1).clamp(0, T), ignore_index=T)


def classifier_dropout(config: BertConfig) -> nn.Dropout:
    """The dropout before a classifier: its own rate, or the model's."""
    rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
    return nn.Dropout(rate)
