"""Downloads from a local HTTP server that misbehaves as real ones do."""

import hashlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.weights import download
from nnunet_vmunet.weights.checkpoint_file import checked_sha256
from nnunet_vmunet.weights.download import CHUNK, Patience, cache_folder, download_weights

NAME = "vssmsmall_dp03_ckpt_epoch_238.pth"
TIMEOUT_S = 1.5  # a busy machine must not look like a stalled server


def checkpoint(seed: int, values: int = 100_000, **how) -> bytes:
    file = io.BytesIO()
    weights = torch.rand(values, generator=torch.Generator().manual_seed(seed))
    torch.save({"model": {"weight": weights}}, file, **how)
    return file.getvalue()


WEIGHTS = checkpoint(0)
HALF = len(WEIGHTS) // 2


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, self.headers))
        replies = self.server.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        reply(self)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Answers the requests with its `replies`, one after the other, and repeats the last."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.replies = [], [whole()]
    server.done = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


def whole(content: bytes = WEIGHTS, *, ranges=True, length=True, send=None, then=None):
    """A reply that sends `content`, or the range of it that was asked for.

    Args:
        ranges: whether the server knows Range.
        send: end after so many bytes, by calling `then(handler)`.
    """

    def reply(handler):
        asked = handler.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        if start and start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if length:
            handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:][:send])
        handler.wfile.flush()
        if then:
            then(handler)

    return reply


def cut(content: bytes = WEIGHTS, **how):
    """A reply that ends after the first half."""
    return whole(content, send=len(content) // 2, **how)


def stall(handler):
    handler.server.done.wait(10)


def reset(handler):
    """The connection is dropped without a farewell."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()
    handler.wfile = io.BytesIO()  # the handler still flushes it


def status(code: int, **headers):
    def reply(handler):
        handler.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return reply


def in_order(*replies):
    """A list for server.replies that does not repeat its last but fails."""
    return [*replies, status(418)]


@pytest.fixture
def fetch(server, tmp_path):
    """download_weights from the local server; the folder's name needs quotes in a shell."""

    def run(url: str | None = None, tries: int = 4) -> Path:
        patience = Patience(TIMEOUT_S, tries, pause_s=0.01)
        return download_weights("vmamba-s", tmp_path / "my cache", url or server.url, patience)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "my cache"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def assert_complete(folder: Path, content: bytes = WEIGHTS) -> None:
    assert (folder / NAME).read_bytes() == content
    assert names(folder) == {NAME, f"{NAME}.sha256"}
    assert (folder / f"{NAME}.sha256").read_text() == f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"


def wait_for_bytes(part: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not part.exists() or part.stat().st_size < HALF - CHUNK:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def offsets(server) -> list[int]:
    """Where each request asked the file to begin; a buffer's worth of what was sent may have been lost."""
    asked = [headers.get("Range", "bytes=0-") for _, headers in server.requests]
    return [int(header.removeprefix("bytes=").removesuffix("-")) for header in asked]


def test_says_where_the_file_is_its_digest_and_the_next_command(server, fetch, folder, capsys):
    assert fetch() == folder / NAME
    assert_complete(folder)
    path, digest, following = capsys.readouterr().out.splitlines()
    assert path == str(folder / NAME)
    assert digest.startswith(f"SHA-256 {hashlib.sha256(WEIGHTS).hexdigest()}, computed here and recorded in {NAME}.sha")
    assert following == f"next: nnunet-vmunet weights import '{folder / NAME}' -o vmunet_s.pth --dataset ID"
    assert [path for path, _ in server.requests] == [f"/{NAME}"]


def test_a_complete_file_is_not_fetched_again(server, fetch, folder, capsys):
    fetch()
    first = capsys.readouterr().out
    fetch()
    assert capsys.readouterr().out == first
    assert len(server.requests) == 1


def test_the_record_can_be_checked_with_sha256sum(fetch, folder):
    fetch()
    subprocess.run(["sha256sum", "--check", "--strict", f"{NAME}.sha256"], cwd=folder, check=True)


def test_a_file_that_a_browser_brought_is_checked_and_recorded(server, fetch, folder):
    folder.mkdir()
    (folder / NAME).write_bytes(WEIGHTS)
    fetch()
    assert (folder / f"{NAME}.sha256").exists()
    assert not server.requests


def test_half_a_file_that_a_browser_brought_is_refused_and_kept(fetch, folder):
    folder.mkdir()
    (folder / NAME).write_bytes(WEIGHTS[:HALF])
    with pytest.raises(InputError, match=r"238\.pth is cut off or damaged: delete it"):
        fetch()
    assert (folder / NAME).stat().st_size == HALF


def drop(handler):
    wait_for_bytes(handler.server.part)  # a reset takes along what the client has not read yet
    reset(handler)


@pytest.mark.parametrize("broken", [cut(), cut(then=stall), cut(then=drop)], ids=["truncates", "stalls", "drops"])
def test_a_broken_transfer_is_resumed(server, fetch, folder, broken, capsys):
    server.part = folder / f"{NAME}.part"
    server.replies = in_order(broken, whole())
    fetch()
    assert_complete(folder)
    first, second = offsets(server)
    assert first == 0 < second <= HALF
    assert f"{second / 1e6:.1f} MB have arrived" in capsys.readouterr().err


def test_every_break_is_resumed_where_it_was(server, fetch, folder):
    server.replies = in_order(*(whole(send=100_000) for _ in range(3)), whole())
    fetch()
    assert_complete(folder)
    assert offsets(server) == sorted(set(offsets(server)))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "reply", [stall, reset, status(500), status(503), status(429)], ids=["silent", "drops", "500", "503", "429"]
)
def test_a_server_that_answers_at_the_second_try(server, fetch, folder, reply):
    server.replies = in_order(reply, whole())
    fetch()
    assert_complete(folder)


def test_a_server_that_ignores_range_starts_anew(server, fetch, folder, capsys):
    server.replies = in_order(cut(ranges=False), whole(ranges=False))
    fetch()
    assert_complete(folder)
    assert "from the start" in capsys.readouterr().err


def test_another_range_than_asked_for_is_not_appended(server, fetch, folder):
    def from_the_start(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        handler.wfile.write(WEIGHTS)

    server.replies = in_order(cut(), from_the_start, whole())
    fetch()
    assert_complete(folder)


def test_a_file_that_became_shorter_is_fetched_from_its_start(server, fetch, folder, capsys):
    shorter = checkpoint(1, 10_000)
    server.replies = in_order(cut(), whole(shorter), whole(shorter))
    fetch()
    assert_complete(folder, shorter)
    assert "the server's file has changed" in capsys.readouterr().err


def test_halves_of_two_files_are_found_by_the_checksums(server, fetch, folder):
    server.replies = in_order(cut(), whole(checkpoint(1)))
    with pytest.raises(InputError, match=r"is damaged at .*data/0 and was removed"):
        fetch()
    assert not names(folder)


@pytest.mark.parametrize("length", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("form", [True, False], ids=["zip", "legacy"])
def test_both_forms_of_checkpoints(server, fetch, folder, length, form):
    content = checkpoint(0, _use_new_zipfile_serialization=form)
    server.replies = in_order(whole(content, length=length))
    fetch()
    assert_complete(folder, content)


def test_chunks_that_end_early(server, fetch, folder):
    def chunked(send):
        def reply(handler):
            handler.protocol_version = "HTTP/1.1"
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(WEIGHTS[:send]), WEIGHTS[:send]))
            if send is None:
                handler.wfile.write(b"0\r\n\r\n")
            handler.close_connection = True

        return reply

    server.replies = in_order(chunked(HALF), chunked(None))
    fetch()
    assert_complete(folder)


def test_a_redirect_carries_the_range_along(server, fetch, folder):
    moved = status(302, Location=f"{server.url}storage/signed")
    server.replies = in_order(moved, cut(), moved, whole())
    fetch()
    assert_complete(folder)
    path, headers = server.requests[-1]
    assert path == "/storage/signed"
    assert headers["Range"].startswith("bytes=")


def test_giving_up_says_how_far_it_got_and_the_next_call_resumes(server, fetch, folder):
    server.replies = [cut(), whole(send=10)]
    with pytest.raises(InputError, match=r"0\.\d MB have arrived and are kept in .*\.part: run the command again"):
        fetch(tries=3)
    assert names(folder) == {f"{NAME}.part"}
    kept = (folder / f"{NAME}.part").stat().st_size
    server.replies = in_order(whole())
    fetch()
    assert_complete(folder)
    assert offsets(server)[-1] == kept > 0


def test_nobody_listens(server, fetch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(InputError, match=rf"^{url}{NAME}: .*refused.*nothing has arrived: .*--url"):
            fetch(url)


def test_the_earlier_tag_where_the_later_is_gone(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RELEASES", (f"{server.url}%23new/", f"{server.url}%23old/"))
    server.replies = in_order(status(404), whole())
    download_weights("vmamba-s", tmp_path, patience=Patience(TIMEOUT_S))
    assert [path for path, _ in server.requests] == [f"/%23new/{NAME}", f"/%23old/{NAME}"]


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_other_http_errors_are_final(server, fetch, code):
    server.replies = [status(code)]
    with pytest.raises(InputError, match=rf"^{server.url}{NAME} answers {code} .*: give a mirror as --url, or save"):
        fetch()
    assert len(server.requests) == 1


def test_a_login_page_is_refused_and_leaves_what_has_arrived(server, fetch, folder):
    server.replies = in_order(cut(), status(200, Content_Type="text/html"))
    with pytest.raises(InputError, match="a web page instead of the file"):
        fetch()
    server.replies = in_order(whole())
    fetch()
    assert_complete(folder)
    assert 0 < offsets(server)[-1] <= HALF


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"error": "quota"}', "is no PyTorch checkpoint"),
        (WEIGHTS[:-1000], "is cut off or damaged"),
        (WEIGHTS[:HALF] + b"?" + WEIGHTS[HALF + 1 :], "damaged at"),
        (checkpoint(0, _use_new_zipfile_serialization=False)[:-1000], "is cut off or damaged"),
    ],
    ids=["text", "truncated-at-the-source", "one-wrong-byte", "truncated-legacy"],
)
def test_what_is_no_checkpoint_is_refused_and_removed(server, fetch, folder, content, reason):
    server.replies = [whole(content)]
    with pytest.raises(InputError, match=f"{reason}.*removed: run the command again, or give a mirror"):
        fetch(tries=1)
    assert not names(folder)


def test_another_digest_than_recorded_is_said_and_nothing_is_fetched_twice(server, fetch, folder):
    fetch()
    (folder / NAME).unlink()
    server.replies = in_order(whole(checkpoint(1)))
    with pytest.raises(InputError, match=rf"^{server.url}{NAME} has SHA-256 .*it has changed, delete the record"):
        fetch()
    (folder / f"{NAME}.sha256").unlink()
    fetch()
    assert_complete(folder, checkpoint(1))


def test_a_file_that_changed_on_disk_is_said(fetch, folder):
    fetch()
    assert checked_sha256(folder / NAME) == hashlib.sha256(WEIGHTS).hexdigest()
    (folder / NAME).write_bytes(checkpoint(1))
    with pytest.raises(InputError, match=r"238\.pth has SHA-256 .*\.sha256 recorded \w{64}: it has changed, delete"):
        fetch()


def test_the_digest_of_a_file_without_record(tmp_path):
    (tmp_path / "best.pth").write_bytes(b"weights")
    assert checked_sha256(tmp_path / "best.pth") == hashlib.sha256(b"weights").hexdigest()
    assert names(tmp_path) == {"best.pth"}


def test_ctrl_c_keeps_what_has_arrived(server, fetch, folder, capsys):
    def press(handler):
        wait_for_bytes(folder / f"{NAME}.part")
        os.kill(os.getpid(), signal.SIGINT)
        stall(handler)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest runs in the background
    try:
        server.replies = in_order(cut(then=press), whole())
        with pytest.raises(KeyboardInterrupt):
            fetch()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command resumes" in capsys.readouterr().err
    assert WEIGHTS.startswith((folder / f"{NAME}.part").read_bytes())
    fetch()
    assert_complete(folder)
    assert 0 < offsets(server)[-1] <= HALF


def test_killed_between_the_last_byte_and_the_name(server, fetch, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetch()
    fetch()
    assert_complete(folder)
    assert len(server.requests) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk without room")
def test_a_full_disk_is_one_line(fetch, folder):
    folder.mkdir()
    (folder / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"238\.pth cannot be .*written: make room there or .* -o.*No space left"):
        fetch()


def test_a_folder_that_is_a_file(fetch, folder):
    folder.write_text("mine")
    with pytest.raises(InputError, match=r"cannot be .*written"):
        fetch()
    assert folder.read_text() == "mine"


def test_a_second_process_is_sent_away_and_the_first_one_finishes(server, fetch, folder):
    server.replies = [cut(then=stall)]
    code = (
        f"import pathlib; from nnunet_vmunet.weights.download import download_weights; "
        f"download_weights('vmamba-s', pathlib.Path({str(folder)!r}), {server.url!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for_bytes(folder / f"{NAME}.part")
        with pytest.raises(InputError, match="another process is downloading"):
            fetch()
        process.kill()
        process.wait()
        server.replies = in_order(whole())
        fetch()  # a dead process holds no lock
    finally:
        process.kill()
    assert_complete(folder)
    assert 0 < offsets(server)[-1] <= HALF


@pytest.mark.parametrize("url", ["vssm.pth", "ftp://host/a.pth", "file:///etc/passwd", "http://", "http://h:port/a"])
def test_an_address_that_is_none(fetch, url):
    with pytest.raises(InputError, match=f"--url {url}: give a whole address"):
        fetch(url)


def test_a_mirror_is_a_folder_or_a_file(server, fetch):
    fetch(f"{server.url}#v0cls/small weights.pth?download=true")
    assert [path for path, _ in server.requests] == ["/%23v0cls/small%20weights.pth?download=true"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has LOCALAPPDATA in place of XDG_CACHE_HOME")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NNUNET_VMUNET_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/nnunet-vmunet"),
        ({"HOME": "/home/user"}, "/home/user/.cache/nnunet-vmunet"),
    ],
    ids=["own", "XDG", "home"],
)
def test_the_cache(monkeypatch, variables, expected):
    for name in ("NNUNET_VMUNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
