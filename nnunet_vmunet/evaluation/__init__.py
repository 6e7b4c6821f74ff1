"""The paper's metrics on arrays; the files beside this one bring them to folders of label images.

Importing this loads NumPy and nothing heavier.
"""

from .isic_metrics import isic_metrics
from .synapse_metrics import synapse_metrics

__all__ = ["isic_metrics", "synapse_metrics"]
