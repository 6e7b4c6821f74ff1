"""VM-UNet (arXiv 2402.02491) for stock nnU-Net. Importing this package loads nothing heavy."""

__version__ = "0.1.0"
