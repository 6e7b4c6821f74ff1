"""VM-UNet (arXiv 2402.02491) for stock nnU-Net. Importing this package loads nothing heavy."""

from pathlib import Path

__version__ = "0.1.0"

# Installed, dataset_conversion lies in this package; in a checkout, beside it.
if not (Path(__file__).parent / "dataset_conversion").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[1]))
