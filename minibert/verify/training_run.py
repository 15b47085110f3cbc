"""Running one step of somebody's training and keeping what can be seen of it: one side of training.py.

Hooks see the output of every module, the gradient of every backward pass before it is added to ``.grad``, and the
optimizer just before its step.  So it does not matter whose code makes the step.  Start with :meth:`Side.run`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError, MinibertError
from minibert.verify.observe import describe, tensors_in

MOMENTS = ("exp_avg", "exp_avg_sq", "step", "momentum_buffer")


@dataclass
class StepRecord:
    """What one step showed, under the model's own names; tensors are copies."""

    activations: dict[str, Tensor] = field(default_factory=dict)  # module → its first output, in order
    loss: Tensor | None = None
    logits: Tensor | None = None
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)  # what the model was given
    gradients: dict[str, Tensor] = field(default_factory=dict)  # of this step's backward passes, in backward order
    pieces: dict[str, list[Tensor]] = field(default_factory=dict)  # the same, each backward pass by itself
    backwards: int = 0
    gradients_before: dict[str, Tensor] = field(default_factory=dict)  # .grad when the step began
    applied: dict[str, Tensor] | None = None  # .grad as the optimizer got it; None: it made no step
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)  # lr, betas, eps, weight_decay of each parameter
    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    state_before: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    state: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    next_rates: dict[str, float] = field(default_factory=dict)


class Side:
    """A model, its optimizer and perhaps its scheduler and its own step, as ``build`` returned them."""

    def __init__(self, name: str, build: Callable[[], Any]) -> None:
        self.name = name
        try:
            built = build()
        except MinibertError:
            raise
        except Exception as error:
            raise InputError(f"build of {name} failed: {describe(error)}") from error
        if isinstance(built, tuple | list) and len(built) in (2, 3):
            parts = dict(zip(("model", "optimizer", "scheduler"), built, strict=False))
        else:
            known = ("model", "optimizer", "scheduler", "step", "max_grad_norm")
            parts = {part: getattr(built, part, None) for part in known}
        self.model, self.optimizer = parts["model"], parts["optimizer"]
        self.scheduler, self.own_step = parts.get("scheduler"), parts.get("step")
        self.max_grad_norm = parts.get("max_grad_norm")
        if not isinstance(self.model, nn.Module) or not isinstance(self.optimizer, torch.optim.Optimizer):
            raise InputError(
                f"build of {name} returned {type(built).__name__}; expected (model, optimizer), (model, optimizer, "
                "scheduler), or an object with these as attributes: an nn.Module and a torch.optim.Optimizer."
            )
        self.aliases: dict[str, list[str]] = {}  # name → every name of the same parameter
        first: dict[int, str] = {}
        for full, parameter in self.model.named_parameters(remove_duplicate=False):
            self.aliases.setdefault(first.setdefault(id(parameter), full), []).append(full)
        self.parameters: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        self.names = {id(parameter): full for full, parameter in self.parameters.items()}
        self.layers = max((len(m) for m in self.model.modules() if isinstance(m, nn.ModuleList)), default=1)

    def run(
        self, batch: Mapping[str, Any], seed: int, before_optimizer: Callable[[StepRecord], None] | None = None
    ) -> StepRecord:
        """One step on a batch; ``before_optimizer`` is called with the record when the optimizer is about to step."""
        watch = _Watch(self, before_optimizer)
        seen = watch.seen
        torch.manual_seed(seed)
        with watch.hooks():
            try:
                self.step(batch)
            except MinibertError:
                raise
            except Exception as error:
                raise InputError(f"A training step of {self.name} failed: {describe(error)}") from error
        if seen.applied is None:
            watch.finish()
        if seen.backwards <= 1:
            seen.pieces = {}
        seen.after = {name: p.detach().clone() for name, p in self.parameters.items()}
        seen.state = self.state()
        seen.next_rates = {name: float(settings["lr"]) for name, settings in self.settings().items()}
        return seen

    def settings(self) -> dict[str, dict[str, Any]]:
        """The optimizer's settings of each parameter."""
        kept: dict[str, dict[str, Any]] = {}
        for group in self.optimizer.param_groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            kept |= {self.names[id(p)]: dict(settings) for p in group["params"] if id(p) in self.names}
        return kept

    def step(self, batch: Mapping[str, Any]) -> None:
        """Their own step where they brought one; else the plain one."""
        if self.own_step is not None:
            self.own_step(batch)
            return
        self.optimizer.zero_grad()
        loss = loss_of(self.model(**batch))
        if loss is None:
            raise InputError(
                f"The model of {self.name} returned no loss: expected outputs.loss, outputs['loss'] or outputs[0] to "
                "be a single number. Are the labels among the inputs?"
            )
        torch.autograd.backward(loss)
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What the optimizer remembers of each parameter, as copies."""
        kept: dict[str, dict[str, Tensor]] = {}
        for parameter, state in self.optimizer.state.items():
            if id(parameter) in self.names:
                kept[self.names[id(parameter)]] = {
                    key: torch.as_tensor(state[key]).detach().clone() for key in MOMENTS if state.get(key) is not None
                }
        return kept

    def again(self, record: StepRecord, seed: int, *, evaluate: bool = False) -> dict[str, Tensor]:
        """The outputs of the modules on the record's first call, drawn with another seed, perhaps without dropout."""
        outputs: dict[str, list[Tensor]] = {}
        modes = {module: module.training for module in self.model.modules()}
        now = {name: p.detach().clone() for name, p in self.parameters.items()}
        args, kwargs = record.calls[0]
        with ExitStack() as stack, torch.random.fork_rng(), torch.no_grad():
            stack.enter_context(kept_outputs(self.model, outputs))
            torch.manual_seed(seed)
            for name, parameter in self.parameters.items():
                parameter.copy_(record.before[name])
            if evaluate:
                self.model.eval()
            try:
                self.model(*args, **kwargs)
            finally:
                for module, training in modes.items():
                    module.training = training
                for name, parameter in self.parameters.items():
                    parameter.copy_(now[name])
        return {name: tensors[0] for name, tensors in outputs.items()}


class _Watch:
    """The hooks on one step of a side, and what they saw."""

    def __init__(self, side: Side, before_optimizer: Callable[[StepRecord], None] | None) -> None:
        self.side, self.before_optimizer = side, before_optimizer
        parameters = side.parameters
        self.seen = StepRecord(
            gradients_before={n: p.grad.detach().clone() for n, p in parameters.items() if p.grad is not None},
            before={name: p.detach().clone() for name, p in parameters.items()},
            state_before=side.state(),
        )
        self.outputs: dict[str, list[Tensor]] = {}
        self.losses: list[Tensor] = []
        self.logits: list[Tensor] = []

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """All hooks, removed at the end of the block."""
        side = self.side
        with kept_outputs(side.model, self.outputs), ExitStack() as stack:
            stack.callback(side.model.register_forward_pre_hook(self.called, with_kwargs=True).remove)
            stack.callback(side.model.register_forward_hook(self.returned).remove)
            for name, parameter in side.parameters.items():
                if parameter.requires_grad:
                    handle = parameter.register_hook(self.arrived(name))  # type: ignore[no-untyped-call]
                    stack.callback(handle.remove)
            stack.callback(side.optimizer.register_step_pre_hook(self.steps).remove)
            yield

    def called(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called."""
        self.seen.calls.append((args, kwargs))

    def returned(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """The model has returned."""
        loss, logits = loss_of(output), logits_of(output)
        if loss is not None:
            self.losses.append(loss.detach().clone())
        if logits is not None:
            self.logits.append(logits.detach().clone())

    def arrived(self, name: str) -> Callable[[Tensor], None]:
        """A backward pass has computed the whole gradient of a parameter."""

        def hook(gradient: Tensor) -> None:
            copy = (gradient.to_dense() if gradient.is_sparse else gradient).detach().clone()
            known = self.seen.gradients.get(name)
            self.seen.gradients[name] = copy if known is None else known + copy
            self.seen.pieces.setdefault(name, []).append(copy)

        return hook

    def steps(self, _optimizer: Any, _args: Any, _kwargs: Any) -> None:
        """The optimizer is about to step."""
        if self.seen.applied is not None:
            return
        parameters = self.side.parameters
        self.seen.applied = {n: p.grad.detach().clone() for n, p in parameters.items() if p.grad is not None}
        self.seen.groups = self.side.settings()
        self.finish()
        if self.before_optimizer is not None:
            self.before_optimizer(self.seen)

    def finish(self) -> None:
        """Put the outputs of micro-batches together."""
        seen, runs = self.seen, max(1, len(self.seen.calls))
        for name, tensors in self.outputs.items():
            if len(tensors) == runs and len({tensor.shape[1:] for tensor in tensors}) == 1 and tensors[0].dim():
                seen.activations[name] = torch.cat(tensors) if runs > 1 else tensors[0]
            elif runs == 1:
                seen.activations |= {f"{name} (call {i + 1})": tensor for i, tensor in enumerate(tensors)}
        seen.backwards = max(map(len, seen.pieces.values()), default=0)
        if len(self.losses) == 1:  # the losses of micro-batches may be means or parts of a sum: nobody can tell
            seen.loss = self.losses[0]
        if self.logits and len({scores.shape[1:] for scores in self.logits}) == 1:
            seen.logits = torch.cat(self.logits) if len(self.logits) > 1 else self.logits[0]


@contextmanager
def kept_outputs(model: nn.Module, outputs: dict[str, list[Tensor]]) -> Iterator[None]:
    """Hooks that add a copy of every module's first output to ``outputs``, removed at the end of the block."""

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            tensor = next((tensor for _, tensor in tensors_in(output)), None)
            if tensor is not None:
                outputs.setdefault(name, []).append(tensor.detach().clone())

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_hook(keep(name)).remove)
        yield


def loss_of(output: Any) -> Tensor | None:
    """outputs.loss, outputs["loss"] or outputs[0], if it is a single number."""
    for loss in (*entries(output, "loss", 0), output):
        if isinstance(loss, Tensor) and loss.numel() == 1 and loss.is_floating_point():
            return loss.reshape(())
    return None


def logits_of(output: Any) -> Tensor | None:
    """outputs.logits, outputs["logits"], or outputs[1] behind a loss."""
    for logits in entries(output, "logits", 1):
        if isinstance(logits, Tensor) and logits.dim() >= 2:
            return logits
    return None


def entries(output: Any, name: str, number: int) -> Iterator[Any]:
    """What a model returned under a name or a number."""
    if hasattr(output, name):
        yield getattr(output, name)
    if isinstance(output, Mapping) and name in output:
        yield output[name]
    if isinstance(output, tuple | list) and len(output) > number:
        yield output[number]
