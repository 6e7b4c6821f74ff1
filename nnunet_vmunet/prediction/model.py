"""A trained model in memory: photographs, volumes or arrays in, masks and probabilities out.

nnU-Net's own preprocessing, network call, resampling and label handling, on one image at a time and without worker
processes. The three steps of a prediction are apart, so that images can be read while one is computed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Union

import numpy as np
import torch
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from PIL import Image
from torch import nn

from ..dataset_json import READERS, Labels
from ..errors import InputError
from ..files.photographs import from_memory, opened_to_turn
from ..files.volumes import NIFTI, read_volume, reading
from ..image_io import WholeImageIO
from ..model_images import Wanted, brought, wanted_by
from ..weights.checkpoint_file import read as read_checkpoint
from .model_files import FINAL, Choice, ModelFiles, model_files
from .nnunet_parts import Plans, Predictor, build_network, compute_in

FilePath = Union[str, Path]  # noqa: UP007 - Python 3.9's typing.get_type_hints reads these too
# A file, Pillow's image, an array, or the files or arrays of several channels.
ModelImage = Union[FilePath, Image.Image, np.ndarray, Sequence[FilePath]]  # noqa: UP007

FLOAT32 = "float32"
PRECISIONS = {FLOAT32: torch.float32, "bf16": torch.bfloat16}
# Images on their way. A network leaves a CPU's cores idle wherever one of its threads is done before the others: a
# second image fills these gaps. Several folds take turns in one network, and a GPU has no such gaps.
AT_ONCE = 2  # that a CPU computes side by side
BESIDE = 2  # that are read or written elsewhere, while the network computes one
_BETWEEN_SLICES = 999  # times the pixels: nnU-Net's spacing along the axis that a 2D image lacks


def load_model(
    model: FilePath,
    *,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = FINAL,
    device: str | torch.device | None = None,
    mirror: bool = True,
    precision: str = FLOAT32,
) -> Model:
    """Load a trained model. No environment variable and no registration with nnU-Net is needed.

    model: the folder that nnUNetv2_train wrote, or the zip that nnUNetv2_export_model_to_zip wrote.
    folds: which of them predict together; all by default.
    checkpoint: the name of the file in each fold's folder.
    device: "cpu", "cuda" or "mps"; a GPU where there is one by default.
    mirror: average over mirrored images, as far as the model was trained for it; False is up to 4 times as fast.
    precision: "float32", or "bf16" for a network of bfloat16; docs/benchmarks.md says what that gains and costs.

    Raises:
        InputError: there is no model, or it cannot be used.
    """
    chosen = Choice(folds=None if folds is None else tuple(map(str, folds)), checkpoint=checkpoint)
    with model_files(Path(model), chosen) as files:
        return Model(files, torch.device(device) if device else default_device(), mirror=mirror, precision=precision)


def default_device() -> torch.device:
    """A GPU where torch has one, the CPU elsewhere."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for the network.

    data: (c, slices, h, w) float32. properties: nnU-Net's, with which a mask comes back to the image's own pixels.
    note: what was changed and a user should know. is_of_array: a volume came without a file that says where it lies.
    """

    data: torch.Tensor
    properties: dict
    note: str | None = None
    is_of_array: bool = False


@dataclass(frozen=True)
class Job:
    """An image for `Model.outcomes`. then: what is done with the result while others are computed."""

    image: ModelImage
    spacing_mm: Sequence[float] | None = None
    then: Callable[[Result], None] | None = None


class Result:
    """What a model says about one image.

    mask: uint8, or uint16 above 255 labels: (h, w) of a photograph, (slices, h, w) of a volume.
    labels: the values in the mask by the name of their label; of regions, those that make one up.
    """

    def __init__(self, model: Model, prepared: Prepared, logits: torch.Tensor) -> None:
        self._model, self._properties, self._logits = model, prepared.properties, logits
        self._is_of_array = prepared.is_of_array
        self.note = prepared.note
        self.labels: Labels = model.labels
        self.stack: np.ndarray = model.converted(logits, prepared.properties)
        """The mask as nnU-Net has it: (slices, h, w) also of a photograph."""

    @property
    def mask(self) -> np.ndarray:
        return self.stack[0] if self._model.takes_photographs else self.stack

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(outputs, h, w) or (outputs, slices, h, w) float32: of the background and each label, or of each region.

        Computed when it is first asked for.
        """
        _, probabilities = self._model.converted(self._logits, self._properties, probabilities=True)
        return probabilities[:, 0] if self._model.takes_photographs else probabilities

    def save(self, file: FilePath) -> None:
        """Write the mask as nnUNetv2_predict does, with the geometry of the volume's file.

        Raises:
            InputError: the model's reader does not write such files, or the volume came as an array.
        """
        if self._is_of_array:
            raise InputError(f"{file} cannot be written, an array has no place in space: predict the volume's file")
        self._model.write(self.stack, Path(file), self._properties)


class Model:
    """A trained model, which several threads may share. On a GPU, and with several folds, they compute in turn."""

    def __init__(
        self, files: ModelFiles, device: torch.device, *, mirror: bool = True, precision: str = FLOAT32
    ) -> None:
        self.name = files.name
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision}: give {' or '.join(PRECISIONS)}")
        dtype = PRECISIONS[precision]
        self.description = files.description()
        checkpoints = [_checkpoint(file) for file in files.checkpoints.values()]
        configuration, trainer = checkpoints[0]["init_args"]["configuration"], checkpoints[0]["trainer_name"]
        self._plans = _plans(files, configuration)
        self._configuration = self._plans.get_configuration(configuration)
        as_planned = device.type != "cuda" and _is_of_this_package(checkpoints[0])  # autocast is for CUDA alone
        network = build_network(trainer, self._plans, self._configuration, self.description, as_planned=as_planned)
        if dtype != torch.float32:
            compute_in(network, dtype)
        self._predictor = Predictor(device, mirror=mirror)
        self._predictor.manual_initialization(
            network,
            self._plans,
            self._configuration,
            [_as_type(checkpoint["network_weights"], dtype) for checkpoint in checkpoints],
            self.description.content,
            trainer,
            checkpoints[0].get("inference_allowed_mirroring_axes"),
        )
        self.reader = self._plans.image_reader_writer_class()
        self._preprocessor = self._configuration.preprocessor_class(verbose=False)
        self._predictor.hold(self._predictor.list_of_parameters[0])
        side_by_side = device.type == "cpu" and len(checkpoints) == 1
        self._free_networks = threading.Semaphore(AT_ONCE if side_by_side else 1)
        self._workers = AT_ONCE if side_by_side else 1 + BESIDE

    @property
    def labels(self) -> Labels:
        """The values in a mask by the name of their label or region."""
        return self.description.labels

    @property
    def plans(self) -> dict:
        """nnU-Net's plans of the model."""
        return self._plans.plans

    @property
    def settings(self) -> dict:
        """The plans' configuration of the model, with what it inherits."""
        return self._configuration.configuration

    @property
    def mirroring_axes(self) -> tuple[int, ...]:
        """Axes of (h, w) that a prediction averages over, as far as the training allows."""
        return tuple(self._predictor.allowed_mirroring_axes or ())

    def network_of_one_fold(self) -> nn.Module:
        """The network with its weights, in evaluation mode.

        Raises:
            InputError: the model has several folds.
        """
        if len(self._predictor.list_of_parameters) > 1:
            raise InputError(f"{self.name} has {len(self._predictor.list_of_parameters)} folds: choose one with -f")
        self._predictor.hold(self._predictor.list_of_parameters[0])
        return self._predictor.network.eval()

    @property
    def takes_photographs(self) -> bool:
        """Whether its images are photographs; of volumes otherwise."""
        return isinstance(self.reader, NaturalImage2DIO)

    @cached_property
    def files_per_image(self) -> int:
        """One for each channel, unless the files have colours."""
        channels = len(self.description.channels)
        if isinstance(self.reader, WholeImageIO):
            return channels // self.reader.channels
        return 1 if self.takes_photographs and channels in READERS else channels

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """Of the files that the model's masks can be written to, and a model of volumes reads."""
        endings = tuple(self.reader.supported_file_endings)
        return (*endings, ".nii") if ".nii.gz" in endings and ".nii" not in endings else endings

    @cached_property
    def _wanted(self) -> Wanted:
        return wanted_by(self.description, None, self.plans.get("dataset_name", self.name), self.files_per_image)

    def predict(self, image: ModelImage, *, spacing_mm: Sequence[float] | None = None) -> Result:
        """Segment one image.

        Args:
            image: a file; Pillow's image or an array (h, w), (h, w, 3) or (h, w, 4) for a model of photographs, turned
                upright as its EXIF orientation says; an array (slices, h, w) or (channels, slices, h, w) for a model
                of volumes, in the order of SimpleITK's GetArrayFromImage. Of several channels, a list of their files.
            spacing_mm: of an array's axes, (slices, h, w); files bring their own.

        Raises:
            InputError: the image cannot be read, or is none that the model takes.
        """
        prepared = self.prepare(image, spacing_mm)
        return self.finish(prepared, self.infer(prepared))

    def predict_many(
        self, images: Iterable[ModelImage], *, spacing_mm: Sequence[float] | None = None
    ) -> Iterator[Result]:
        """Segment images in their order. Several are on their way at a time: read, computed or finished.

        Args and errors: as of `predict`. What comes after an image that cannot be read is not predicted.
        """
        for outcome in self.outcomes(Job(image, spacing_mm) for image in images):
            yield outcome.result()

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Future[Result]]:
        """The results in the jobs' order, each with the error that it may have met."""
        with ThreadPoolExecutor(self._workers) as pool, ExitStack() as ended:
            ended.callback(pool.shutdown, cancel_futures=True)
            begun: deque[Future[Result]] = deque()
            for job in jobs:
                begun.append(pool.submit(self._outcome, job))
                if len(begun) > self._workers:  # one waits, so that no worker has to
                    yield begun.popleft()
            while begun:
                yield begun.popleft()

    def _outcome(self, job: Job) -> Result:
        prepared = self.prepare(job.image, job.spacing_mm)
        result = self.finish(prepared, self.infer(prepared))
        if job.then is not None:
            job.then(result)
        return result

    def prepare(self, image: ModelImage, spacing_mm: Sequence[float] | None = None) -> Prepared:
        """The first step: read the image, normalise and resample it."""
        note, is_of_array = None, False
        if self.takes_photographs:
            data, properties, note = self._photograph(image)
        else:
            data, properties = self._volume(image, spacing_mm)
            is_of_array = isinstance(image, np.ndarray)
        if len(data) != len(self.description.channels):
            raise InputError(
                f"{_name(image)} has {len(data)} channels, the model {self.name} takes "
                f"{len(self.description.channels)} ({', '.join(self.description.channels)})"
            )
        data, _, properties = self._preprocessor.run_case_npy(
            data, None, properties, self._plans, self._configuration, self.description.content
        )
        return Prepared(torch.from_numpy(data).to(torch.float32).contiguous(), properties, note, is_of_array)

    def infer(self, prepared: Prepared) -> torch.Tensor:
        """The second step: logits (outputs, slices, h, w) at the size that the network sees."""
        with self._free_networks:
            return self._predictor.predict_logits_from_preprocessed_data(prepared.data)

    def finish(self, prepared: Prepared, logits: torch.Tensor) -> Result:
        """The third step: bring the logits to the image's own pixels, and choose labels."""
        return Result(self, prepared, logits)

    def converted(self, logits: torch.Tensor, properties: dict, *, probabilities: bool = False):
        """By nnU-Net: the mask (slices, h, w), where asked for with the probabilities (outputs, slices, h, w)."""
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._plans,
            self._configuration,
            self._predictor.label_manager,
            properties,
            return_probabilities=probabilities,
            num_threads_torch=torch.get_num_threads(),  # as they are: other threads are computing
        )

    def write(self, stack: np.ndarray, file: Path, properties: dict) -> None:
        """Write a mask (slices, h, w) with the model's own writer.

        Raises:
            InputError: it does not write files that end so.
            OSError: the disk is full or closed to us.
        """
        if not file.name.lower().endswith(self.endings):
            raise InputError(f"{file} cannot be written by this model: let its name end in {', '.join(self.endings)}")
        try:
            self.reader.write_seg(stack, str(file), properties)
        except RuntimeError as error:  # SimpleITK's for a full disk
            raise OSError(" ".join(str(error).split())[-200:]) from error

    def _photograph(self, image: ModelImage) -> tuple[np.ndarray, dict, str | None]:
        files = [image] if isinstance(image, (str, Path, Image.Image, np.ndarray)) else list(image)
        if len(files) != self.files_per_image:
            raise InputError(f"{_name(image)}: the model {self.name} takes {self.files_per_image} files for an image")
        pixels, notes = zip(*(self._pixels(file) for file in files), strict=True)
        names = [_name(file) for file in files]
        data, properties = self._from_pixels(pixels, names)
        return data, properties, next(filter(None, notes), None)

    def _pixels(self, image: FilePath | Image.Image | np.ndarray) -> tuple[np.ndarray, str | None]:
        if isinstance(image, (str, Path)):
            with opened_to_turn(Path(image)) as photograph:
                return brought(photograph, self._wanted)
        return brought(from_memory(image), self._wanted)

    def _from_pixels(self, pixels: Sequence[np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, dict]:
        if isinstance(self.reader, WholeImageIO):
            return self.reader.from_pixels(pixels, names)
        stacked = [image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in pixels]
        return np.concatenate(stacked)[:, None].astype(np.float32), {"spacing": (_BETWEEN_SLICES, 1, 1)}

    def _volume(self, image: ModelImage, spacing_mm: Sequence[float] | None) -> tuple[np.ndarray, dict]:
        if isinstance(image, np.ndarray):
            return _of_array(image, spacing_mm)
        if isinstance(image, Image.Image):
            raise InputError(f"the model {self.name} takes volumes: give the file of one, or an array and its spacing")
        files = [Path(image)] if isinstance(image, (str, Path)) else [Path(file) for file in image]
        for file in files:
            if not file.name.lower().endswith(self.endings):
                raise InputError(f"{file} is no volume that the model reads: give {', '.join(self.endings)}")
            if file.name.lower().endswith(NIFTI):
                read_volume(file, may_be_flat=True)  # which notices what nnU-Net's readers do not: a file cut short
        with reading(files[0], "as a volume"):
            return self.reader.read_images([str(file) for file in files])


def _checkpoint(file: Path) -> dict:
    content = read_checkpoint(file)
    if not isinstance(content, dict) or not {"network_weights", "trainer_name", "init_args"} <= content.keys():
        raise InputError(f"{file} is no checkpoint of nnU-Net: give a model that nnUNetv2_train trained")
    return content


def _is_of_this_package(checkpoint: dict) -> bool:
    """Whether the checkpoint says that a trainer of this package made it, and not one derived from it elsewhere."""
    required = checkpoint["init_args"].get("requires")
    return isinstance(required, dict) and required.get("trainer") == checkpoint["trainer_name"]


def _as_type(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: weight.to(dtype) if weight.is_floating_point() else weight for name, weight in weights.items()}


def _plans(files: ModelFiles, configuration: str) -> Plans:
    plans = Plans(files.plans())
    if configuration not in plans.available_configurations:
        raise InputError(f"{files.name}: its plans have no configuration {configuration!r}, copy the model again")
    if plans.get_configuration(configuration).previous_stage_name:
        raise InputError(f"{files.name} is the second stage of a cascade: predict with nnUNetv2_predict")
    return plans


def _of_array(volume: np.ndarray, spacing_mm: Sequence[float] | None) -> tuple[np.ndarray, dict]:
    """(c, slices, h, w) float32, and nnU-Net's properties."""
    axes = 2 if volume.ndim == 2 else 3
    if spacing_mm is None or len(spacing_mm) != axes or volume.ndim not in (2, 3, 4):
        given = "none" if spacing_mm is None else tuple(spacing_mm)
        raise InputError(
            f"an array of shape {volume.shape} with spacing_mm {given} is no volume: give (slices, height, width) or "
            "(channels, slices, height, width), and the millimetres between its slices, rows and columns"
        )
    spacing = [float(length) for length in spacing_mm]
    if not all(length > 0 for length in spacing):
        raise InputError(f"spacing_mm {tuple(spacing_mm)}: give millimetres above 0")
    if axes == 2:
        return volume[None, None].astype(np.float32), {"spacing": [_BETWEEN_SLICES * max(spacing), *spacing]}
    data = volume if volume.ndim == 4 else volume[None]
    return data.astype(np.float32), {"spacing": spacing}


def _name(image: ModelImage) -> str:
    """For messages."""
    if isinstance(image, (str, Path)):
        return str(image)
    if isinstance(image, (Image.Image, np.ndarray)):
        return "the image"
    return str(next(iter(image), "no file"))
