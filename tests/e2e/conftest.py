"""Fixtures of the end-to-end tests: the real binary, real network namespaces, real servers."""
import os
import pathlib
import shutil
import signal

import pytest

from lab import Lab

# A shell that starts the tests in the background has switched SIGINT off, and programs keep it off then.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_binary():
    named = os.environ.get("LOOKBACK_BIN")
    candidates = [named] if named else [ROOT / "build" / p / "lookback" for p in ("release", "dev")]
    for candidate in candidates:
        if candidate and pathlib.Path(candidate).exists():
            return str(candidate)
    pytest.exit("no lookback binary: build a preset first or set LOOKBACK_BIN", returncode=1)


@pytest.fixture(scope="session")
def binary():
    return find_binary()


@pytest.fixture(scope="session", autouse=True)
def root_needed():
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests make network namespaces and need root", returncode=1)
    for tool in ("ip", "tcpdump", "tshark", "capinfos", "editcap", "tar", "zstd"):
        if shutil.which(tool) is None:
            pytest.exit(f"{tool} is missing: run scripts/install-deps", returncode=1)


@pytest.fixture
def make_lab(binary, tmp_path, request):
    """make_lab(nodes=3) builds a cluster in namespaces; all of it ends with the test."""
    labs = []

    def make(**options):
        lab = Lab(binary, tmp_path / f"lab{len(labs)}", **options)
        labs.append(lab)
        return lab

    yield make
    failed = getattr(request.node, "failed", False)
    for lab in labs:
        lab.close(show_logs=failed)
        if not failed:  # pytest keeps the folders of three runs: gigabytes of packets
            shutil.rmtree(lab.directory, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        item.failed = True
