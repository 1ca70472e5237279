"""The commands and how one of them is run: only its own module is loaded, so that every command starts at once."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import typer

from worker.cli.failures import explain


@dataclass(frozen=True, slots=True)
class _Command:
    """A command, or a group of them: the module, the name in it, and the line that the help shows."""

    module: str
    name: str
    says: str


_COMMANDS = {
    "demo": _Command("demo", "demo", "Show the main job with everything embedded, then audit it."),
    "drill": _Command("drill", "drill", "Play New Year's night with everything embedded."),
    "migrate": _Command("database", "migrate", "Bring the database to the newest schema."),
    "roles": _Command("roles", "roles", "Make the database's roles: owner, worker, reader."),
    "broker-definitions": _Command("definitions", "broker_definitions", "Print RabbitMQ's users and permissions."),
    "worker": _Command("worker", "worker", "Consume all topics until SIGTERM or SIGINT."),
    "emit": _Command("emit", "emit", "Publish one request."),
    "watch": _Command("watch", "watch", "Show events live."),
    "organizations": _Command("organizations", "organizations", "Register and list organisations."),
    "ranges": _Command("listings", "ranges", "List number ranges; release a foreign one."),
    "claims": _Command("listings", "claims", "List claims, automatic and manual."),
    "numbers": _Command("listings", "numbers", "List invoice numbers."),
    "waiting": _Command("listings", "waiting", "List requests that wait for numbers; cancel one."),
    "forecast": _Command("forecast", "forecast", "Tell when each stock will be empty, worst first."),
    "taxpayers": _Command("taxpayers", "taxpayers", "Pause and resume a taxpayer; retire its ranges after a move."),
    "recovered": _Command("recovered", "recovered", "Take a restored database into use."),
    "audit": _Command("audit", "audit", "Check every invariant on the live data."),
    "dead-letters": _Command("dead_letters", "dead_letters", "See what could not be read, and send it back."),
    "leqi-simulator": _Command("simulator", "leqi_simulator", "Run the fake authority."),
    "asyncapi": _Command("asyncapi", "asyncapi", "Print the AsyncAPI document."),
}

#: What the shell makes of an interrupt, and of a mistake in the words.
_INTERRUPTED = 130
#: Characters of a complaint that are shown.
_LONGEST_COMPLAINT = 2000


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit status; whatever goes wrong by a user's hand is one line on stderr."""
    _write_anything()
    given = list(arguments) or ["--help"]
    try:
        status = typer.main.get_command(_build(given))(args=given, prog_name="fuma", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as mistake:
        _complain(mistake.format_message(), given)
        return mistake.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read on is gone, as `head` is; what is still buffered must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the outermost boundary: known failures in words, bugs as they are
        said = explain(error)
        if said is None:
            raise
        _complain(said)
        return 1
    return status if isinstance(status, int) else 0


def _build(arguments: Sequence[str]) -> typer.Typer:
    """Make the command line with the one command that the arguments name; of the others only their help."""
    root = typer.Typer(
        help="Fuma gives every e-invoice exactly one number of the tax authority.",
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_nothing)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, command in _COMMANDS.items():
        if name == wanted:
            _add(root, name, command)
        else:
            root.command(name, help=command.says)(_nothing)
    return root


def _add(root: typer.Typer, name: str, command: _Command) -> None:
    loaded: typer.Typer | Callable[..., None] = getattr(import_module(f"worker.cli.{command.module}"), command.name)
    if isinstance(loaded, typer.Typer):
        root.add_typer(loaded, name=name, help=command.says)
    else:
        root.command(name, help=command.says)(loaded)


def _nothing() -> None:
    """Stand in for a command that was not asked for."""


def _write_anything() -> None:
    """Write characters that the terminal's encoding lacks in escaped form, instead of failing over them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(said: str, arguments: Sequence[str] = ()) -> None:
    line = " ".join(said.replace("Value error, ", "").split())
    if len(line) > _LONGEST_COMPLAINT:
        # What was given may be anything: enough of both ends to see what and why.
        line = f"{line[: _LONGEST_COMPLAINT // 2]} … {line[-_LONGEST_COMPLAINT // 2 :]}"
    if arguments and arguments[0] in _COMMANDS:
        line = f"{line.rstrip('.')} (see `fuma {arguments[0]} --help`)"
    # What moves a cursor, or hides, is escaped: some of it was given from outside.
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    sys.stderr.write(f"fuma: {shown}\n")
