"""The tests' own RabbitMQ node leaves no process behind, however its owner ends."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

STARTING = """
import sys, time
from tests.support.rabbitmq import PrivateRabbitMQ
with PrivateRabbitMQ() as node:
    print(node.new_vhost(), node.folder, flush=True)
    time.sleep(600)
"""


def test_a_killed_run_leaves_no_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTING],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        url, folder = owner.stdout.readline().split()
        assert url.startswith("amqp://")
        started = processes_of(folder)
        assert {"beam.smp", "epmd"} <= {name for _, name in started}

        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid, _ in started), "the node's end")
    shutil.rmtree(folder)


def processes_of(folder: str) -> list[tuple[int, str]]:
    """Find the node's processes by its folder, and its epmd by the port that the node was given."""
    # What is asked for here is read at once: a process that ends meanwhile is left out.
    there = [process.info for process in psutil.process_iter(["pid", "name", "cmdline", "environ"])]
    nodes = [each for each in there if folder in " ".join(each["cmdline"] or [])]
    ports = {(each["environ"] or {}).get("ERL_EPMD_PORT") for each in nodes if each["name"] == "beam.smp"}
    daemons = [each for each in there if each["name"] == "epmd" and ports & set((each["cmdline"] or [])[1:])]
    return [(each["pid"], each["name"]) for each in (*nodes, *daemons)]
