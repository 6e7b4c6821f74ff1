"""The page itself, in Gradio: drop a file, see the contour, scroll the slices, download the mask."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.photographs import SUFFIXES
from ..prediction.model import Model
from .view import View, legend, segmented

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before it is imported: images may be of patients

import gradio as gr

LOCAL = "127.0.0.1"
KEPT_SECONDS = 3600  # of uploaded files, after which Gradio deletes them
# Nothing that goes to another machine: fonts of the system, no link to share a picture or to call the page.
LOOK: dict[str, Any] = {
    "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    "footer_links": [],
}
NOTICE = "Not a medical device. What is dropped here stays on the machine that runs this page, for an hour at most."


def serve(model: Model, *, host: str = LOCAL, port: int | None = None, max_mb: int = 200, block: bool = True) -> str:
    """Serve the page, and return its address.

    host: where it listens; this machine alone by default. port: a free one by default. max_mb: of an uploaded file.
    block: until Ctrl-C.

    Raises:
        InputError: the model takes several files for an image, or the address is in use.
    """
    if model.files_per_image > 1:
        raise InputError(f"{model.name} takes {model.files_per_image} files for an image: use nnunet-vmunet predict")
    masks = tempfile.TemporaryDirectory(prefix="nnunet-vmunet-")
    with masks:
        try:
            _, address, _ = page(model, Path(masks.name)).launch(
                server_name=host,
                server_port=port,
                max_file_size=f"{max_mb}mb",
                allowed_paths=[masks.name],
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                **LOOK,
            )
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be listened on, choose another --port ({error})") from error
        print(f"Open {address} in a browser; Ctrl-C ends it", flush=True)
        if block:
            import threading

            threading.Event().wait()
    return address


def page(model: Model, masks: Path) -> gr.Blocks:
    """The page. masks: a folder for the files that are offered for download."""
    kind = "photograph" if model.takes_photographs else "volume"
    endings = list(SUFFIXES if model.takes_photographs else model.endings)
    with gr.Blocks(title=f"nnunet-vmunet: {model.plans['dataset_name']}", delete_cache=(60, KEPT_SECONDS)) as blocks:
        gr.Markdown(f"# {model.plans['dataset_name']}\nDrop a {kind}, and see what the model finds.")
        view = gr.State()
        with gr.Row():
            with gr.Column(scale=1):
                file = gr.File(label=f"A {kind} ({', '.join(endings)})", file_count="single", elem_id="upload")
                said = gr.Markdown(elem_id="said")
                mask = gr.DownloadButton("Download the mask", interactive=False, elem_id="mask")
            with gr.Column(scale=2):
                picture = gr.Image(label="Contours", interactive=False, elem_id="picture", format="png", buttons=[])
                slices = gr.Slider(0, 1, step=1, label="Slice", visible=False, elem_id="slices")
                gr.HTML(legend(model.labels))
        gr.Markdown(NOTICE)

        def drop(path: str | None):
            """What changes on the page when a file was dropped, or taken away."""
            nothing = None, "", gr.DownloadButton(value=None, interactive=False), None, gr.Slider(visible=False)
            if path is None:
                return nothing
            try:
                found = segmented(model, Path(path), Path(tempfile.mkdtemp(dir=masks)))
            except InputError as error:
                sentence = str(error).replace(path, Path(path).name)
                return None, f"**{sentence}**", *nothing[2:]
            return (
                found,
                _sentence(found),
                gr.DownloadButton(value=str(found.mask), interactive=True),
                found.pixels(found.fullest),
                gr.Slider(0, max(1, found.slices - 1), value=found.fullest, visible=found.slices > 1),
            )

        file.change(drop, file, [view, said, mask, picture, slices], api_visibility="private")
        slices.change(_slice, [view, slices], picture, show_progress="hidden", api_visibility="private")
    return blocks


def _slice(view: View | None, index: float):
    return None if view is None else view.pixels(min(int(index), view.slices - 1))


def _sentence(view: View) -> str:
    found = ", ".join(f"{name} {100 * share:.1f} %" for name, share in view.found.items() if share)
    note = f"  \nNote: it {view.note}" if view.note else ""
    return (f"Found: {found} of the image" if found else "Found: nothing") + note
