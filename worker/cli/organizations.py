"""`fuma organizations`: registering who may ask for numbers, and listing them."""

from pathlib import Path
from typing import Annotated

import typer

from db.organizations import ListedOrganization, import_organizations, list_organizations
from schemas.organizations import read_organizations
from worker.cli.database import reading, ready_engine
from worker.cli.failures import CommandError
from worker.cli.filters import AsJson
from worker.cli.output import Layout, print_json, print_table, say, warn
from worker.clock import Clock
from worker.settings import load_settings

organizations = typer.Typer()

#: A file of this size holds more companies than any register; a device or a log does too.
_LARGEST_FILE = 64 * 1024 * 1024

_ORGANIZATIONS = Layout(
    "organisations",
    (
        ("code", "name"),
        ("taxpayer_id", "using_unit_id"),
        ("channel_mode", "automatic_claims"),
        ("claim_quantity", "low_threshold"),
        ("claim_sizing", "created_at"),
    ),
)


@organizations.command("import")
def _import(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML (.yaml, .yml) or JSON (.json) list of organisations.")
    ],
) -> None:
    """Register organisations: the file's words replace what is stored for its codes."""
    settings = load_settings()
    entries = read_organizations(_read(file), suffix=file.suffix)
    with ready_engine(settings) as engine, engine.begin() as connection:
        result = import_organizations(connection, settings.environment, entries, Clock(settings.clock).now())
    for warning in result.warnings:
        warn(warning)
    say(f"{len(result.created)} created, {len(result.replaced)} replaced, {len(result.unchanged)} unchanged")


@organizations.command("list")
def _list(*, as_json: AsJson = False) -> None:
    """List the registered organisations, by code."""
    settings = load_settings()
    with reading(settings) as connection:
        rows = [_as_row(listed) for listed in list_organizations(connection, settings.environment)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, _ORGANIZATIONS, len(rows))


def _as_row(listed: ListedOrganization) -> dict[str, object]:
    organization, policy = listed.organization, listed.organization.policy
    return {
        "code": organization.code,
        "name": organization.name,
        "taxpayer_id": organization.taxpayer_id,
        "channel_mode": organization.channel_mode,
        "using_unit_id": policy.using_unit_id,
        "automatic_claims": policy.automatic_claims,
        "claim_quantity": policy.claim_quantity,
        "claim_sizing": policy.claim_sizing,
        "low_threshold": policy.low_threshold,
        "created_at": listed.created_at,
    }


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        message = f"{file} is no organisations file: it is larger than {_LARGEST_FILE} bytes"
        raise CommandError(message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"{file} is not written in UTF-8"
        raise CommandError(message) from None
