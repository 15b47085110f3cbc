"""The losses of the heads: cross-entropy, squared error, binary cross-entropy, and checks of their labels.

The arithmetic is torch's, one call each.  Labels may have any integer dtype and be on any device; other labels are
refused with a message.  A label outside the head's classes is located only after torch has failed, so that a good call
never scans its labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import ConfigError, InputError
from minibert.inputs import check_tensor, has_values, is_traced, shape_of

IGNORE_INDEX = -100  # torch's ignore_index: the label of positions that are not part of the loss
Count = int | float | Tensor | None


def cross_entropy(logits: Tensor, labels: Tensor, count: Count = None, name: str = "labels") -> Tensor:
    """Mean cross-entropy in nats of (…, C) scores against (…) int64 labels, without those of -100.

    ``count`` (transformers' ``num_items_in_batch``): divide the sum by it instead, so that the micro-batches of a step
    add up to the mean over the step.  Raises InputError for labels that do not fit.
    """
    shape, C = logits.shape[:-1], logits.shape[-1]
    labels = check_labels(name, labels, shape, logits, whole=True)
    try:
        loss = F.cross_entropy(logits.reshape(-1, C), labels.reshape(-1), reduction="mean" if count is None else "sum")
    except IndexError as error:  # on the CPU; an accelerator reports the failure later, by itself
        raise explain_label(name, labels, C) from error
    if count is not None:
        return loss / check_count(count, loss)
    if loss.device.type == "cpu" and has_values(loss) and loss.isnan():
        check_some_count(name, labels)
    return loss


def squared_error(logits: Tensor, labels: Tensor, count: Count = None) -> Tensor:
    """Mean squared error of (B, 1) scores against (B,) numbers, or of (B, K) against (B, K)."""
    shape = logits.shape[:-1] if logits.shape[-1] == 1 else logits.shape
    labels = check_labels("labels", labels, shape, logits, whole=False)
    if logits.shape[-1] == 1:
        logits, labels = logits.squeeze(), labels.squeeze()
    if count is None:
        return F.mse_loss(logits, labels)
    return F.mse_loss(logits, labels, reduction="sum") / check_count(count, logits)


def binary_cross_entropy(logits: Tensor, labels: Tensor, count: Count = None) -> Tensor:
    """Mean binary cross-entropy in nats of (B, C) scores against (B, C) zeros and ones: each class by itself."""
    labels = check_labels("labels", labels, logits.shape, logits, whole=False)
    if count is None:
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / check_count(count, logits)


def classification_loss(logits: Tensor, labels: Tensor, problem: str | None, count: Count = None) -> Tensor:
    """The loss that a config's ``problem_type`` names, for (B, C) scores.

    If it is None: one score is regression, integer labels are classes, anything else is several classes at once.
    """
    check_tensor("labels", labels)
    whole = not (labels.is_floating_point() or labels.dtype == torch.bool)
    if problem == "regression" or (problem is None and logits.shape[-1] == 1):
        return squared_error(logits, labels, count)
    if problem == "single_label_classification" or (problem is None and whole):
        return cross_entropy(logits, labels, count)
    if problem in ("multi_label_classification", None):
        if problem is None and labels.shape != logits.shape:
            raise InputError(
                f"labels has shape {shape_of(labels)} and is {labels.dtype}. Expected int64 class numbers of shape "
                f"{shape_of(logits[..., 0])} (labels.long()), or zeros and ones of shape {shape_of(logits)} for "
                "several classes at once."
            )
        return binary_cross_entropy(logits, labels, count)
    raise ConfigError(
        f"problem_type is {problem!r}; expected 'regression', 'single_label_classification' or "
        "'multi_label_classification'."
    )


def position_loss(logits: Tensor, positions: Tensor, name: str) -> Tensor:
    """Mean cross-entropy of (B, T) scores against (B,) positions, without those outside the sequence."""
    B, T = logits.shape
    positions = check_labels(name, positions, (B,), logits, whole=True)
    return F.cross_entropy(logits, positions.reshape(-1).clamp(0, T), ignore_index=T)


def check_labels(name: str, labels: Tensor, shape: tuple[int, ...], logits: Tensor, *, whole: bool) -> Tensor:
    """The labels on the device of ``logits``, of ``shape``, and in the dtype of the loss: int64, or that of ``logits``.

    A flat tensor, or one with a last dimension of 1, is accepted.  Raises InputError for another shape or dtype.
    """
    check_tensor(name, labels)
    expected = torch.Size(shape)
    same = labels.shape in (expected, (*expected, 1)) or (labels.dim() < 2 and labels.numel() == expected.numel())
    if not same and not is_traced():
        raise InputError(f"{name} has shape {shape_of(labels)}, expected {tuple(expected)}, as the scores have.")
    if labels.is_complex():
        raise InputError(f"{name} is {labels.dtype}, expected {'torch.int64' if whole else 'real numbers'}.")
    if whole and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise InputError(f"{name} is {labels.dtype}, expected torch.int64: numbers of classes. Use {name}.long().")
    if labels.is_meta and not logits.is_meta:
        raise InputError(f"{name} is on the meta device, where tensors have no values; the scores are not.")
    labels = labels.to(logits.device, torch.int64 if whole else logits.dtype)
    return labels if is_traced() else labels.reshape(expected)


def check_count(count: Count, loss: Tensor) -> float | Tensor:
    """``num_items_in_batch`` as a divisor; InputError for anything but one positive number."""
    if isinstance(count, Tensor):
        check_tensor("num_items_in_batch", count)
        if count.numel() == 1 and not count.is_complex() and count.is_meta == loss.is_meta:
            return count.to(loss.device).reshape(())
    elif isinstance(count, int | float) and not isinstance(count, bool) and 0 < count < float("inf"):
        return float(count)
    found = f"a tensor of shape {shape_of(count)}" if isinstance(count, Tensor) else repr(count)
    raise InputError(f"num_items_in_batch is {found}; expected how many labels the step has: one positive number.")


def explain_label(name: str, labels: Tensor, C: int) -> InputError:
    """The InputError for a label that is no class: the first such label, its position, and what is expected."""
    place = tuple(((labels != IGNORE_INDEX) & ((labels < 0) | (labels >= C))).nonzero()[0].tolist())
    label = int(labels[place])
    hint = " (-1 marked that in the code of 2018: labels.masked_fill(labels == -1, -100).)" if label == -1 else ""
    more = " Make the head larger: num_labels=…, when the model is loaded." if label >= C else ""
    return InputError(
        f"{name} holds {label} at {place}; this head has classes 0 to {C - 1}, and {IGNORE_INDEX} for what does not "
        f"count.{hint}{more}"
    )


def check_some_count(name: str, labels: Tensor) -> None:
    """Raise InputError if all labels are ignored: the mean over none is NaN, and would make every weight NaN."""
    if not (labels != IGNORE_INDEX).any():
        what = f"holds {IGNORE_INDEX} alone" if labels.numel() else "is empty"
        raise InputError(
            f"{name} {what}: the mean over no label is NaN, and its gradient makes every weight NaN. Leave such "
            "batches out, or sum over the whole step with num_items_in_batch=…."
        )
