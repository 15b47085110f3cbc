"""Any source in, a modern folder out: config.json, model.safetensors, and the vocabulary when there is one."""

from pathlib import Path

import minibert
from minibert.checkpoint.architecture import fitting_architecture, load_architecture
from minibert.checkpoint.report import LoadReport
from minibert.checkpoint.save import save_pretrained
from minibert.checkpoint.weights import open_weights
from minibert.errors import CheckpointError
from minibert.lock import NAME, alone_in
from minibert.source import Source, find_file

VOCABULARY = ("vocab.txt", "tokenizer.json")


@alone_in("folder")
def convert(source: Source, folder: Source, head: str | None = None) -> tuple[LoadReport, list[str]]:
    """Write ``source`` into ``folder``; returns what became of every tensor, and the names of the files written.

    ``head`` names the class to convert as, by default the one that uses the most of the file's tensors.  Raises
    CheckpointError when the folder holds a checkpoint already.
    """
    folder = Path(folder)
    if (folder / "model.safetensors").exists() or (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds a checkpoint already. Choose another folder, or remove that one first.")
    model = load_architecture(source, architecture=head or fitting_architecture(open_weights(source)))
    save_pretrained(model, folder)
    if any(find_file(source, name) for name in VOCABULARY):
        minibert.BertTokenizer.from_pretrained(source).save_pretrained(folder)
    assert model.load_report is not None
    return model.load_report, sorted(path.name for path in folder.iterdir() if path.name != NAME)
