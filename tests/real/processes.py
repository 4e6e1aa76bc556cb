"""Process: one server or program of a test. It has a log file of its own and is stopped by its pid."""

import itertools
import os
import pathlib
import signal
import socket
import subprocess
import time


class StartFailed(Exception):
    """A server did not come up; the message holds the end of its log."""


PORTS_FROM = 10_000
EPHEMERAL = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
_offset = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """Below the range of which the kernel gives ports to outgoing connections: nobody takes it before the server does,
    nor while the server is away. None is given twice until all have been."""
    end = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    while True:
        port = PORTS_FROM + next(_offset) % (end - PORTS_FROM)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:  # somebody listens there
                continue


def wait_until(condition, timeout_s: float, what: str, interval_s: float = 0.05):
    """Returns the first true value of `condition`; exceptions of `condition` are not swallowed."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{timeout_s:.0f} s passed without: {what}")
        time.sleep(interval_s)


def port_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Process:
    def __init__(self, name: str, command: list, log: pathlib.Path, env: dict | None = None, cwd=None,
                 separate_output: bool = False, prefix: list | None = None):
        self.name = name
        self.command = [str(part) for part in (prefix or []) + command]
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.separate_output = separate_output  # standard output to <log>.out, else into the log
        self.popen: subprocess.Popen | None = None
        self.suspended = False

    @property
    def output(self) -> pathlib.Path:
        return self.log.with_suffix(".out") if self.separate_output else self.log

    def start(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log, open(self.output, "ab") as out:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                          env=self.env, cwd=self.cwd)
        self.suspended = False
        return self

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def tail(self, lines: int = 30, width: int = 600) -> str:
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line if len(line) <= width else line[:width] + " [...]" for line in text)

    def wait_for_port(self, port: int, timeout_s: float = 240):
        def up():
            if not self.running():
                raise StartFailed(f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}")
            return port_answers(port)
        try:
            wait_until(up, timeout_s, f"{self.name} answers on port {port}")
        except TimeoutError as error:
            raise StartFailed(f"{error}\n{self.tail()}") from error

    def wait(self, timeout_s: float) -> int:
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} did not end within {timeout_s:.0f} s:\n{self.tail()}") from error

    def suspend(self):
        self.popen.send_signal(signal.SIGSTOP)
        self.suspended = True

    def resume(self):
        self.popen.send_signal(signal.SIGCONT)
        self.suspended = False

    def terminate(self):
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> int:
        if self.running():
            self.popen.kill()
        return self.popen.wait()

    def stop(self, timeout_s: float = 20):
        if not self.running():
            return
        if self.suspended:
            self.resume()
        self.terminate()
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
