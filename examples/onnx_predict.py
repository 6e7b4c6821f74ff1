"""A photograph to a mask with an exported model: NumPy, Pillow and onnxruntime alone.

    python onnx_predict.py model.onnx photo.jpg mask.png [--fast]

`nnunet-vmunet export onnx MODEL -o model.onnx` writes the model, and model.json beside it, which says what to do here.
"""

import argparse
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--fast", action="store_true", help="without mirroring")
    args = parser.parse_args()
    Image.fromarray(predict(args.model, args.photograph, mirror=not args.fast)).save(args.mask)


def predict(model: Path, photograph: Path, *, mirror: bool = True) -> np.ndarray:
    """(h, w) uint8: the labels, at the photograph's own size, upright."""
    told = json.loads(model.with_suffix(".json").read_text())
    options = onnxruntime.SessionOptions()
    if mirror:
        options.intra_op_num_threads = 1  # mirrored patches run side by side, which uses the cores better
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    image = read(photograph, told["reading"])  # (c, h, w)
    height, width = image.shape[1:]
    prepared = resized(normalised(image, told["normalisation"]), network_size(height, width, told))
    logits = in_windows(session, prepared, told, mirror)
    logits = np.stack([linear(linear(channel, height, 0), width, 1) for channel in logits])
    return labels(logits, told)


def read(file: Path, reading: dict) -> np.ndarray:
    """(c, h, w) float32"""
    if reading["kind"] != "photograph" or reading["files"] != 1:
        raise SystemExit("this example reads photographs, one file each")
    channels = len(reading["channels"])
    image = Image.open(file)
    if reading["upright"]:
        image = ImageOps.exif_transpose(image)
    is_deep = image.mode[0] == "I"  # grey of 16 bits
    if channels == 1 and not is_deep:
        image = image.convert("RGB").convert("L")
    elif not is_deep:
        image = image.convert("RGBA" if channels == 4 else "RGB")
    pixels = np.atleast_3d(np.asarray(image)).astype(np.float32)
    if channels == 1 and reading["bits"] == 16 and not is_deep:
        pixels *= 257
    if pixels.shape[2] != channels:
        pixels = np.repeat(pixels[..., :1], channels, axis=2)
    return np.maximum(pixels, reading["lowest_value"]).transpose(2, 0, 1)


def normalised(image: np.ndarray, schemes: list[dict]) -> np.ndarray:
    """The same shape, each channel as the training's images were."""
    together = [c for c, told in enumerate(schemes) if told["scheme"] == "stretch"]
    result = image.copy()
    if together:
        low, high = image[together].min(), image[together].max()
        result[together] = (image[together] - low) * (schemes[together[0]]["high"] / max(high - low, 1e-8))
    for c, told in enumerate(schemes):
        channel = image[c]
        if told["scheme"] == "ZScoreNormalization":
            result[c] = (channel - channel.mean()) / max(channel.std(), 1e-8)
        elif told["scheme"] == "RescaleTo01Normalization":
            result[c] = (channel - channel.min()) / max(np.ptp(channel), 1e-8)
        elif told["scheme"] == "RGBTo01Normalization":
            result[c] = channel / 255
        elif told["scheme"] not in ("stretch", "NoNormalization"):
            raise SystemExit(f"this example does not know {told['scheme']}")
    return result


def network_size(height: int, width: int, told: dict) -> tuple[int, int]:
    """The size at which the network sees a photograph of this size."""
    extent, (row, column) = told["reading"]["extent"], told["resampling"]["spacing"]
    if extent:  # every photograph spans as much, whatever its pixels
        return round(extent / row), round(extent / column)
    return round(height / row), round(width / column)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(c, h, w) to (c, *size): averaged along axes that shrink, cubic along those that grow."""
    for axis, length in enumerate(size, start=1):
        if length < image.shape[axis]:
            image = averaged(image, length, axis)
    if image.shape[1:] == size:
        return image
    larger = [Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC) for channel in image]
    return np.stack([np.asarray(channel) for channel in larger])


def averaged(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Each new pixel is the mean of what it covers."""
    old = image.shape[axis]
    edges = np.arange(length + 1) * (old / length)
    covered = np.minimum(edges[1:, None], np.arange(old) + 1) - np.maximum(edges[:-1, None], np.arange(old))
    weights = (covered.clip(0) * (length / old)).astype(np.float32)
    return np.moveaxis(np.moveaxis(image, axis, -1) @ weights.T, -1, axis)


def linear(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Linear interpolation between the centres of pixels."""
    old = image.shape[axis]
    place = ((np.arange(length) + 0.5) * old / length - 0.5).clip(0, old - 1)
    below = np.minimum(place.astype(int), old - 1)
    above, share = np.minimum(below + 1, old - 1), (place - below).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    return image.take(below, axis) * (1 - share) + image.take(above, axis) * share


def in_windows(session, image: np.ndarray, told: dict, mirror: bool) -> np.ndarray:
    """(c, h, w) to logits (outputs, h, w): windows that overlap by half, their middle counting most."""
    patch = told["input"]["shape"][2:]
    missing = [max(0, side - length) for side, length in zip(patch, image.shape[1:], strict=True)]
    before = [length // 2 for length in missing]
    padded = np.pad(image, [(0, 0), *((b, m - b) for b, m in zip(before, missing, strict=True))])
    weights = np.maximum(np.outer(*(bell(side, told["window"]["sigma"]) for side in patch)), 1e-6)
    total, counted = 0.0, np.zeros(padded.shape[1:], np.float32)
    for row in starts(padded.shape[1], patch[0], told["window"]["step"]):
        for column in starts(padded.shape[2], patch[1], told["window"]["step"]):
            window = np.s_[row : row + patch[0], column : column + patch[1]]
            logits = network(session, padded[(slice(None), *window)], told, mirror)
            if isinstance(total, float):
                total = np.zeros((len(logits), *counted.shape), np.float32)
            total[(slice(None), *window)] += logits * weights
            counted[window] += weights
    inside = np.s_[before[0] : before[0] + image.shape[1], before[1] : before[1] + image.shape[2]]
    return (total / counted)[(slice(None), *inside)]


def starts(length: int, side: int, step: float) -> list[int]:
    """Where windows begin: the fewest that overlap enough, evenly spaced."""
    count = math.ceil((length - side) / (side * step)) + 1
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]


def bell(side: int, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(side) - side // 2) / (sigma * side)) ** 2).astype(np.float32)


def network(session, patch: np.ndarray, told: dict, mirror: bool) -> np.ndarray:
    """(c, h, w) to logits, but for what is the same for all outputs; the mean over mirrored patches."""
    axes = told["mirroring_axes"] if mirror else []
    flips = [[axis + 1 for i, axis in enumerate(axes) if chosen >> i & 1] for chosen in range(2 ** len(axes))]

    def run(flip: list[int]) -> np.ndarray:
        image = np.flip(patch, flip)[None].astype(np.float32)
        return session.run(None, {told["input"]["name"]: image})[0][0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        probabilities = np.stack(list(pool.map(run, flips)))
    logits = np.log(probabilities.clip(1e-38))
    if told["output"]["activation"] == "sigmoid":
        logits -= np.log((1 - probabilities).clip(1e-38))
    return np.mean([np.flip(one, flip) for one, flip in zip(logits, flips, strict=True)], axis=0)


def labels(logits: np.ndarray, told: dict) -> np.ndarray:
    """(h, w) uint8"""
    if told["output"]["activation"] == "softmax":
        return logits.argmax(0).astype(np.uint8)
    mask = np.zeros(logits.shape[1:], np.uint8)
    for region, label in zip(logits, told["regions_class_order"], strict=True):  # later ones lie on top
        mask[region > 0] = label
    return mask


if __name__ == "__main__":
    main()
