"""Metrics on arrays, the paper's and those of any labels, and two models compared in one; the other files bring them to
folders of label images.

Importing this loads NumPy and nothing heavier.
"""

from .isic_metrics import isic_metrics
from .label_metrics import label_metrics
from .paired import paired_comparison
from .synapse_metrics import synapse_metrics

__all__ = ["isic_metrics", "label_metrics", "paired_comparison", "synapse_metrics"]
