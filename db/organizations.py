"""Organisations and the channels that they draw numbers from: registering and listing them.

Codes of one taxpayer and channel mode share one channel, and so one stock, one using unit and one claim policy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from db.engine import constraint
from schemas.organizations import OrganizationEntry
from schemas.taxpayer_id import usci_warning

# Keeps a second import waiting until the first one is committed; readers and issuing go on.
_LOCK = text("LOCK TABLE organizations, channels IN SHARE ROW EXCLUSIVE MODE")

_STORED = text("""
    SELECT o.code, o.name, o.taxpayer_id, o.channel_mode, o.created_at,
           c.using_unit_id, c.automatic_claims, c.claim_quantity, c.claim_sizing, c.low_threshold
    FROM organizations AS o
    JOIN channels AS c USING (taxpayer_id, environment, channel_mode)
    WHERE o.environment = :environment
    ORDER BY o.code
""")

_PUT_CHANNEL = text("""
    INSERT INTO channels (taxpayer_id, environment, channel_mode,
        using_unit_id, automatic_claims, claim_quantity, claim_sizing, low_threshold)
    VALUES (:taxpayer_id, :environment, :channel_mode,
        :using_unit_id, :automatic_claims, :claim_quantity, :claim_sizing, :low_threshold)
    ON CONFLICT (taxpayer_id, environment, channel_mode) DO UPDATE
    SET using_unit_id = excluded.using_unit_id, automatic_claims = excluded.automatic_claims,
        claim_quantity = excluded.claim_quantity, claim_sizing = excluded.claim_sizing,
        low_threshold = excluded.low_threshold
""")

_PUT_ORGANIZATION = text("""
    INSERT INTO organizations (taxpayer_id, environment, code, name, channel_mode, created_at)
    VALUES (:taxpayer_id, :environment, :code, :name, :channel_mode, :now)
    ON CONFLICT (environment, code) DO UPDATE
    SET taxpayer_id = excluded.taxpayer_id, name = excluded.name, channel_mode = excluded.channel_mode
""")

# A channel that its last organisation has left claims nothing more; its ranges and claims do not need its row.
_REMOVE_LEFT_CHANNELS = text("""
    DELETE FROM channels AS c
    WHERE c.environment = :environment AND NOT EXISTS (
        SELECT FROM organizations AS o
        WHERE o.taxpayer_id = c.taxpayer_id AND o.environment = c.environment AND o.channel_mode = c.channel_mode)
""")

#: The constraints that tie requests and claims to their organisation's taxpayer.
_TIES = ("fk_issue_requests_organization", "fk_claims_organization")


class ImportRefusedError(Exception):
    """The file and what is stored contradict each other; nothing was changed. The text says who disagrees in what."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What all organisations of one channel must agree in."""

    using_unit_id: str
    automatic_claims: bool
    claim_quantity: int
    claim_sizing: str
    low_threshold: Decimal


@dataclass(frozen=True, slots=True)
class Organization:
    """An organisation with its channel's policy, as stored or as a file wants it."""

    code: str
    name: str
    taxpayer_id: str
    channel_mode: str
    policy: Policy

    @property
    def channel(self) -> tuple[str, str]:
        """The channel within the environment: tax id and mode."""
        return self.taxpayer_id, self.channel_mode


class ListedOrganization(NamedTuple):
    """An organisation as stored, and since when."""

    organization: Organization
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did, by code in the order of the file, and what an operator should look at."""

    created: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]
    warnings: tuple[str, ...]


def import_organizations(
    connection: Connection,
    environment: str,
    entries: Sequence[OrganizationEntry],
    now: datetime,
) -> ImportResult:
    """Register organisations; the file's words replace what is stored for its codes, others stay as they are.

    Must be the first work of its transaction, which the caller commits: a second import waits for it.
    Raises `ImportRefusedError` where a code stands twice in the file, where organisations of one channel would not
    agree in using unit and policy, and where the tax id of a code with requests or claims would change.
    Source: the contract, "Organisations file".
    """
    wanted = [_wanted(entry) for entry in entries]
    _check_named_once(wanted)
    connection.execute(_LOCK)
    stored = {listed.organization.code: listed.organization for listed in list_organizations(connection, environment)}
    _check_agreement(wanted, stored)
    changed = [organization for organization in wanted if stored.get(organization.code) != organization]
    _put(connection, environment, changed, now)
    return ImportResult(
        created=tuple(organization.code for organization in changed if organization.code not in stored),
        replaced=tuple(organization.code for organization in changed if organization.code in stored),
        unchanged=tuple(o.code for o in wanted if stored.get(o.code) == o),
        warnings=tuple(
            f"{organization.code}: {warning}"
            for organization in wanted
            if (warning := usci_warning(organization.taxpayer_id)) is not None
        ),
    )


def list_organizations(connection: Connection, environment: str) -> list[ListedOrganization]:
    """List every organisation of the environment, by code."""
    return [
        ListedOrganization(
            Organization(row.code, row.name, row.taxpayer_id, row.channel_mode, Policy(*row[5:])),
            row.created_at,
        )
        for row in connection.execute(_STORED, {"environment": environment})
    ]


def _wanted(entry: OrganizationEntry) -> Organization:
    return Organization(
        code=entry.code,
        name=entry.name,
        taxpayer_id=entry.taxpayer_id,
        channel_mode=str(entry.channel_mode),
        policy=Policy(
            using_unit_id=entry.using_unit_id,
            automatic_claims=entry.automatic_claims,
            claim_quantity=entry.claim_quantity,
            claim_sizing=str(entry.claim_sizing),
            # As many places as are stored, so that the same file read again is the same.
            low_threshold=Decimal(str(entry.low_threshold)).quantize(Decimal("0.0001")),
        ),
    )


def _check_named_once(wanted: Iterable[Organization]) -> None:
    twice = sorted(code for code, times in Counter(organization.code for organization in wanted).items() if times > 1)
    if twice:
        message = f"the file names {', '.join(twice)} more than once"
        raise ImportRefusedError(message)


def _check_agreement(wanted: Sequence[Organization], stored: Mapping[str, Organization]) -> None:
    """Compare each organisation, as it would be afterwards, with the first one of its channel in the file."""
    named = {organization.code for organization in wanted}
    staying = [organization for code, organization in stored.items() if code not in named]
    first_of_channel: dict[tuple[str, str], Organization] = {}
    for organization in wanted:
        _check_same_policy(first_of_channel.setdefault(organization.channel, organization), organization, "in the file")
    for organization in staying:
        if organization.channel in first_of_channel:
            _check_same_policy(first_of_channel[organization.channel], organization, "stored")


def _check_same_policy(one: Organization, other: Organization, whence: str) -> None:
    differences = [
        f"{field.name} ({getattr(one.policy, field.name)} and {getattr(other.policy, field.name)})"
        for field in fields(Policy)
        if getattr(one.policy, field.name) != getattr(other.policy, field.name)
    ]
    if differences:
        message = (
            f"{one.code} (in the file) and {other.code} ({whence}) share the stock of {one.taxpayer_id}"
            f" {one.channel_mode}, but disagree in {', '.join(differences)}: give both the same words in one file"
        )
        raise ImportRefusedError(message)


def _put(connection: Connection, environment: str, changed: Sequence[Organization], now: datetime) -> None:
    if not changed:
        return
    channels = {organization.channel: organization.policy for organization in changed}
    connection.execute(
        _PUT_CHANNEL,
        [
            {
                "environment": environment,
                "taxpayer_id": taxpayer_id,
                "channel_mode": channel_mode,
                **{field.name: getattr(policy, field.name) for field in fields(Policy)},
            }
            for (taxpayer_id, channel_mode), policy in sorted(channels.items(), key=lambda item: item[0])
        ],
    )
    for organization in sorted(changed, key=lambda changing: changing.code):
        _put_organization(connection, environment, organization, now)
    connection.execute(_REMOVE_LEFT_CHANNELS, {"environment": environment})


def _put_organization(connection: Connection, environment: str, organization: Organization, now: datetime) -> None:
    try:
        connection.execute(
            _PUT_ORGANIZATION,
            {
                "environment": environment,
                "code": organization.code,
                "name": organization.name,
                "taxpayer_id": organization.taxpayer_id,
                "channel_mode": organization.channel_mode,
                "now": now,
            },
        )
    except IntegrityError as error:
        if constraint(error) not in _TIES:
            raise
        message = (
            f"the taxpayer_id of {organization.code} can't become {organization.taxpayer_id}: issue requests or claims"
            " were made under its present one; register the new tax id under a new code"
        )
        raise ImportRefusedError(message) from None
