"""A RabbitMQ node of the tests' own: nothing of the machine's RabbitMQ is read, used or touched.

The node runs with an Erlang shell on its standard input.
That is the hand that makes a virtual host in a millisecond (`rabbitmqctl` takes seconds), and the leash: when the
process that started the node dies, however it dies, the pipe closes and the node ends with it.
"""

import atexit
import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.certificates import write_certificates
from tests.support.erlang_shell import ErlangShell, RabbitMQUnavailableError
from tests.support.ports import lasting_ports

#: Debian's `/usr/sbin/rabbitmq-server` is a wrapper that insists on the user `rabbitmq`; the script behind it does not.
SCRIPTS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path("/opt/rabbitmq/sbin/rabbitmq-server"))
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

START_DEADLINE = 60.0
STOP_DEADLINE = 15.0


class PrivateRabbitMQ:
    """One node with its own name, ports, epmd, cookie and folder; a context manager.

    `url` stays the same over `kill` and `start`, and so does what the node has stored.
    """

    def __init__(self, *, plugins: Sequence[str] = ()) -> None:
        """Choose ports and make the folder; nothing runs yet. `plugins` are of those that RabbitMQ is shipped with."""
        self._plugins = tuple(plugins)
        self._script = _find_script()
        self._folder = Path(tempfile.mkdtemp(prefix="fuma-rabbitmq-"))
        self._port, self._tls_port, self._dist_port, self._epmd_port = lasting_ports(4)
        self._name = f"fuma{self._port}@localhost"
        self._user = "fuma-test"
        self._password = secrets.token_hex(12)
        self._vhosts = itertools.count(1)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[str] | None = None
        self._shell: ErlangShell | None = None

    @property
    def url(self) -> str:
        """The default virtual host, for the node's administrator."""
        return self.url_of("/")

    @property
    def password(self) -> str:
        """What no log line may show."""
        return self._password

    @property
    def folder(self) -> Path:
        """Where all that it stores is."""
        return self._folder

    @property
    def port(self) -> int:
        """Where it accepts AMQP, on 127.0.0.1."""
        return self._port

    @property
    def process_id(self) -> int:
        """The running node's."""
        assert self._node is not None
        return self._node.pid

    def url_of(self, vhost: str, *, user: str | None = None, password: str | None = None) -> str:
        """Address a virtual host, as the administrator or as another user."""
        path = "%2F" if vhost == "/" else vhost
        return f"amqp://{user or self._user}:{password or self._password}@127.0.0.1:{self._port}/{path}"

    def tls_url_of(self, vhost: str) -> str:
        """Address a virtual host over TLS. The server's certificate is signed by `ca_file`, for 127.0.0.1."""
        return self.encrypted(self.url_of(vhost))

    def encrypted(self, url: str) -> str:
        """Give the address over TLS of what `url` addresses in the clear."""
        return url.replace("amqp://", "amqps://").replace(f":{self._port}/", f":{self._tls_port}/")

    @property
    def ca_file(self) -> Path:
        """The authority that a client must trust for `tls_url_of`."""
        return self._folder / "ca.pem"

    def start(self) -> None:
        """Start the node, for the first time or again with the same data, and wait until it accepts AMQP."""
        if self._node is not None:
            return
        self._start_epmd()
        self._write_configuration()
        self._node = subprocess.Popen(  # the machine's own RabbitMQ
            [str(self._script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd=self._folder,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._shell = ErlangShell(self._node)
        self._wait_until_started(self._node)

    def kill(self) -> None:
        """End the node as a power cut would."""
        node = self._node
        if node is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        self._forget(node)

    def stop(self) -> None:
        """End the node in order, and its epmd, and remove the folder."""
        node, shell = self._node, self._shell
        if node is not None and shell is not None:
            shell.send("init:stop().")
            try:
                node.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(node.pid, signal.SIGKILL)
            self._forget(node)
        if self._epmd is not None:
            if self._epmd.stdin is not None:
                self._epmd.stdin.close()
            self._epmd.wait(STOP_DEADLINE)
            self._epmd = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_vhost(self) -> str:
        """Make an empty virtual host and give its URL: the cheap way to keep tests apart."""
        vhost = f"test-{os.getpid()}-{next(self._vhosts)}"
        self.evaluate(f"rabbit_vhost:add({_binary(vhost)}, {_binary('test')})")
        self.allow(self._user, vhost)
        return self.url_of(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """Remove a virtual host with all that is in it; its connections are closed by the node."""
        self.evaluate(f"rabbit_vhost:delete({_binary(vhost)}, {_binary('test')})")

    def new_user(self) -> tuple[str, str]:
        """Make a user who may do nothing yet, and give name and password."""
        user, password = f"user-{next(self._vhosts)}", secrets.token_hex(12)
        self.evaluate(f"rabbit_auth_backend_internal:add_user({_binary(user)}, {_binary(password)}, {_binary('test')})")
        return user, password

    def allow(self, user: str, vhost: str, *, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Set a user's permissions in a virtual host, as regular expressions on names."""
        patterns = ", ".join(_binary(pattern) for pattern in (configure, write, read))
        self.evaluate(
            "rabbit_auth_backend_internal:set_permissions("
            f"{_binary(user)}, {_binary(vhost)}, {patterns}, {_binary('test')})",
        )

    def import_definitions(self, definitions: Mapping[str, object]) -> None:
        """Import a definitions file's content, as `rabbitmqctl import_definitions` does."""
        encoded = base64.b64encode(json.dumps(definitions).encode()).decode()
        result = self.evaluate(f"rabbit_definitions:import_raw(base64:decode({_binary(encoded)}))")
        if result != "ok":
            message = f"the node did not import the definitions: {result}"
            raise RabbitMQUnavailableError(message)

    def set_memory_alarm(self, *, on: bool) -> None:
        """Raise or clear the memory alarm: while it stands, the node reads nothing from publishers."""
        call = (
            "set_alarm({{resource_limit, memory, node()}, []})"
            if on
            else "clear_alarm({resource_limit, memory, node()})"
        )
        self.evaluate(f"rabbit_alarm:{call}")

    def close_connections(self, vhost: str) -> None:
        """Close every client's connection to a virtual host from the node's side.

        The node itself gives up after a while on one whose other end takes nothing any more, and says so: that one is
        left to what ails it.
        """
        pids = f'[(catch rabbit_networking:close_connection(Pid, "closed by a test")) || Pid <- {self._pids(vhost)}]'
        self.evaluate(pids)

    @staticmethod
    def _pids(vhost: str) -> str:
        return (
            "[Pid || Pid <- rabbit_networking:connections(),"
            f" rabbit_reader:info(Pid, [vhost]) =:= [{{vhost, {_binary(vhost)}}}]]"
        )

    def evaluate(self, expression: str) -> str:
        """Evaluate one Erlang expression in the node and give its result as Erlang prints it."""
        if self._shell is None:
            message = "the node isn't running"
            raise RabbitMQUnavailableError(message)
        return self._shell.evaluate(expression)

    def __enter__(self) -> Self:
        """Start it; it ends with the block, or with the process."""
        atexit.register(self.stop)
        try:
            self.start()
        except BaseException:
            self.stop()
            atexit.unregister(self.stop)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything that was started."""
        self.stop()
        atexit.unregister(self.stop)

    def _start_epmd(self) -> None:
        if self._epmd is not None:
            return
        epmd = shutil.which("epmd", path=SEARCH_PATH)
        if epmd is None:
            message = "epmd isn't installed (it comes with erlang-base)"
            raise RabbitMQUnavailableError(message)
        # epmd itself would outlive us after a SIGKILL; the shell ends it as soon as our end of its input closes.
        self._epmd = subprocess.Popen(
            ["/bin/sh", "-c", '"$0" -address 127.0.0.1 -port "$1" & cat; kill $!; wait $!', epmd, str(self._epmd_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": SEARCH_PATH},
            start_new_session=True,
        )
        _poll(lambda: _accepts(self._epmd_port), deadline=START_DEADLINE, what="epmd did not start")

    def _write_configuration(self) -> None:
        for name in ("home", "log", "data"):
            (self._folder / name).mkdir(exist_ok=True)
        write_certificates(self._folder)
        (self._folder / "enabled_plugins").write_text(f"[{', '.join(self._plugins)}].\n")
        (self._folder / "environment.conf").write_text("")
        (self._folder / "rabbitmq.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        """Give the node's settings, as its file has them."""
        return (
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"default_user = {self._user}\n"
            f"default_pass = {self._password}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self._tls_port}\n"
            f"ssl_options.cacertfile = {self._folder}/ca.pem\n"
            f"ssl_options.certfile = {self._folder}/server.pem\n"
            f"ssl_options.keyfile = {self._folder}/server.key\n"
            "ssl_options.verify = verify_none\n"
            "ssl_options.fail_if_no_peer_cert = false\n"
            "disk_free_limit.absolute = 50MB\n"
            "raft.wal_max_size_bytes = 67108864\n"
            "log.console = false\n"
            "log.file = node.log\n"
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": SEARCH_PATH,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "HOME": str(self._folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "environment.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "node.pid"),
        }

    def _wait_until_started(self, node: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if node.poll() is not None:
                break
            if _greets(self._port):
                return
            time.sleep(0.05)
        printed = "" if self._shell is None else self._shell.last_lines()
        self.kill()
        message = f"the RabbitMQ node did not start: {printed}"
        raise RabbitMQUnavailableError(message)

    def _forget(self, node: subprocess.Popen[str]) -> None:
        node.wait(STOP_DEADLINE)
        for pipe in (node.stdin, node.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._shell is not None:
            self._shell.join()
        self._node, self._shell = None, None


def _find_script() -> Path:
    for script in SCRIPTS:
        if script.exists():
            return script
    found = shutil.which("rabbitmq-server", path=SEARCH_PATH)
    if found is None:
        message = "RabbitMQ isn't installed: `make test` installs it, or `apt-get install rabbitmq-server` does"
        raise RabbitMQUnavailableError(message)
    return Path(found)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _greets(port: int) -> bool:
    """Whether an AMQP server answers there: an open port alone may still be booting."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _poll(condition: Callable[[], bool], *, deadline: float, what: str) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise RabbitMQUnavailableError(what)
        time.sleep(0.02)


def _binary(text: str) -> str:
    return f'<<"{text}">>'
