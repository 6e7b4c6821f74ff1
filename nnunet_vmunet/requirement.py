"""What a saved model asks of the nnU-Net that is to predict with it: that it finds our trainer and our image reader.

Without it a user on another machine would read that a trainer was not found and should be moved somewhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from . import __version__

PREDICTOR = "nnunetv2.inference.predict_from_raw_data"
TRAINERS = "nnunet_vmunet.trainers"
READER = "WholeImage2DIO"


@dataclass(frozen=True)
class Requirement:
    """Lies in a checkpoint, and asks when it is unpickled. Checkpoints name this class: it must keep its place.

    Only prediction has to ask. nnUNetv2_train has found the trainer before it opens a checkpoint, and whoever looks
    at the weights alone needs none.
    """

    trainer: str
    dataset: str
    reader: str | None  # the image reader that the plans name
    version: str = __version__

    @classmethod
    def of(cls, trainer: str, plans: dict) -> Requirement:
        return cls(trainer, plans["dataset_name"], plans.get("image_reader_writer"))

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if PREDICTOR in sys.modules and TRAINERS not in sys.modules:
            self._ask_nnunet()

    def _ask_nnunet(self) -> None:
        """Raise RuntimeError with what to do, by the searches that nnU-Net itself is about to make."""
        import nnunetv2
        from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        # The reader first: to find the trainer imports it, and a second attempt would pass for a training.
        needed = {READER: recursive_find_reader_writer_by_name} if self.reader == READER else {}
        needed[self.trainer] = recursive_find_trainer_class_by_name
        for name, find in needed.items():
            if not _is_found(find, name):
                raise RuntimeError(
                    f"nnU-Net in {nnunetv2.__path__[0]} does not find {name}, which the model of {self.dataset} needs: "
                    f"run nnunet-vmunet register (the model was saved by nnunet-vmunet {self.version}, "
                    f"installed is {__version__})"
                )


def _is_found(find, name: str) -> bool:
    try:
        find(name)
    except RuntimeError:
        return False
    return True
