"""Arguments of transformers' ``from_pretrained`` that minibert does not have, and how each is handled.

Programs that were written for transformers pass them.  An argument that asks for what minibert does anyway is
accepted; any other is refused with a message, and never ignored.  See :func:`take_switches`.
"""

from typing import Any

from minibert.errors import ConfigError
from minibert.schema import shown

# No choice here: memory is never doubled, any format is read, no code of a checkpoint is executed.
ACCEPTED = (
    "low_cpu_mem_usage", "trust_remote_code", "from_tf", "from_flax", "weights_only", "resume_download",
    "offload_state_dict", "offload_folder", "offload_buffers", "max_memory", "_fast_init", "_from_auto", "_commit_hash",
    "_from_pipeline", "user_agent", "use_kernels",
)  # fmt: skip
QUANTIZED = "minibert computes in float32, float64, float16 or bfloat16; leave it out, or choose one with dtype="
# Refused, unless the value asks for nothing (None, False, "", {}).
REFUSED = {
    "output_loading_info": "model.load_report says what became of every tensor, after every load",
    "load_in_8bit": QUANTIZED,
    "load_in_4bit": QUANTIZED,
    "quantization_config": QUANTIZED,
    "use_flash_attention_2": 'choose attn_implementation="sdpa" (fused) or "eager" (written out)',
    "subfolder": "give the path of that folder itself",
    "variant": "give the path of that file itself",
    "gguf_file": "use the checkpoint that it was made from",
    "adapter_name": "merge the adapter into its model first (peft: merge_and_unload)",
    "adapter_kwargs": "merge the adapter into its model first (peft: merge_and_unload)",
    "key_mapping": "rename the tensors and hand them over: from_pretrained(…, state_dict=renamed)",
    "proxies": "set HTTPS_PROXY, which the hub's client reads",
    "mirror": "set HF_ENDPOINT",
    "tp_plan": "minibert runs a model on one device; see torch.nn.parallel for several",
    "tp_size": "minibert runs a model on one device; see torch.nn.parallel for several",
    "device_mesh": "minibert runs a model on one device; see torch.nn.parallel for several",
    "return_unused_kwargs": "minibert has no argument without a meaning",
}
DISPATCHED = ("auto", "balanced", "balanced_low_0", "sequential")  # values of device_map: the best device here


def take_switches(settings: dict[str, Any]) -> None:
    """Remove transformers' arguments from ``settings``; ConfigError for those that minibert cannot honour."""
    for name in ACCEPTED:
        settings.pop(name, None)
    for name, advice in REFUSED.items():
        if settings.pop(name, None):
            raise ConfigError(f"from_pretrained got {name}, which minibert does not have: {advice}.")


def take_source(source: Any, settings: dict[str, Any]) -> Any:
    """``source``, also if it was passed under transformers' name for it."""
    named = settings.pop("pretrained_model_name_or_path", None)
    if named is not None and source is not None:
        raise ConfigError("from_pretrained got two sources; give one.")
    return source if named is None else named


def device_of(device_map: Any) -> Any:
    """The one device that a ``device_map`` names, for :func:`minibert.devices.find_device`; None for None.

    Raises ConfigError when it names several.
    """
    if isinstance(device_map, dict):
        devices = {str(device) for device in device_map.values()}
        if len(devices) != 1:
            raise ConfigError(
                f'device_map names {len(devices)} devices; minibert runs a model on one: give device_map="cuda".'
            )
        device_map = next(iter(device_map.values()))
    if isinstance(device_map, str) and device_map in DISPATCHED:
        return "auto"
    named = device_map is None or isinstance(device_map, str) or type(device_map) is int
    if not named and type(device_map).__name__ != "device":  # torch's, without importing it
        raise ConfigError(f'device_map is {shown(device_map)}; expected the name of a device, "auto", or null.')
    return f"cuda:{device_map}" if type(device_map) is int else device_map
