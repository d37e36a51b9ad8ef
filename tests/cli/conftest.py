import os
import pathlib
import pty
import select
import subprocess
import time

import pytest

from fake_hub import FakeHub

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("LOOKBACK_BIN", str(ROOT / "build" / "dev" / "lookback"))


@pytest.fixture
def hub():
    fake = FakeHub()
    yield fake
    fake.close()


class Client:
    """The binary in an empty folder, with nothing of the user's around it."""

    def __init__(self, directory, hub):
        self.directory = directory
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory / "home"), "TERM": "xterm",
                            "LOOKBACK_HUB": hub.url, "LOOKBACK_STATE_DIR": str(directory / "state"), "PYTHONPATH": "", "LANG": "C.UTF-8"}

    def __call__(self, *words, env=None, stdin=subprocess.DEVNULL, text=True, **options):
        return subprocess.run([BINARY, *map(str, words)], cwd=self.directory, env={**self.environment, **(env or {})},
                              stdin=stdin, capture_output=True, text=text, timeout=60, **options)

    def start(self, *words, env=None, **options):
        return subprocess.Popen([BINARY, *map(str, words)], cwd=self.directory,
                                env={**self.environment, **(env or {})}, **options)

    def on_terminal(self, *words, answer=b"", env=None, stdout=None):
        """Runs on a terminal of its own; returns the exit status and all that it showed."""
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, *map(str, words)], cwd=self.directory, stdin=slave,
                                   stdout=slave if stdout is None else stdout, stderr=slave,
                                   env={**self.environment, **(env or {})}, start_new_session=True)
        os.close(slave)
        if answer:
            os.write(master, answer)
        shown, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    break  # the terminal's other end is closed
                if not piece:
                    break
                shown += piece
        os.close(master)
        return process.wait(60), shown.decode()


@pytest.fixture
def client(tmp_path, hub):
    (tmp_path / "home").mkdir()
    return Client(tmp_path, hub)
