"""Settings: the environment variables `FUMA_…`, and a `.env` file in the calling folder.

The contract's table of settings stands here field by field; the variable of a field is its name in capitals behind
`FUMA_`. An empty variable counts as unset. What may carry a password is masked wherever the settings are shown.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.vocabulary import Environment
from worker import crash_points

_PREFIX = "FUMA_"
_ORDINARY_YEAR = 2001

#: Settings that may carry a password, and so may stand in a file.
_BY_FILE = ("broker_url", "database_url", "channel_gateway_url")
_LONGEST_FILE = 4096


class SettingsError(Exception):
    """A setting is missing or wrong; the text is one line that names the variable and never shows its value."""


class MonthDay(NamedTuple):
    """A day of every year, in China's calendar."""

    month: int
    day: int


class Settings(BaseSettings):
    """What one process was told; it never changes while the process runs."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    #: `amqp://`, `amqps://`, or `memory://`: a broker inside this one process.
    broker_url: SecretStr = SecretStr("memory://")
    #: A file that holds it instead, as the next two `…_file` do: for addresses with a password.
    broker_url_file: Path | None = None
    #: `postgresql://…`; unset: an embedded PostgreSQL under `home`, see `database_address`.
    database_url: SecretStr | None = None
    database_url_file: Path | None = None
    #: Folder of the embedded parts; absolute once the settings are read.
    home: Path = Path(".fuma")
    #: Part of every key.
    environment: Environment = Environment.SANDBOX
    #: Base address of LeQi or of a simulator.
    leqi_url: str | None = None
    #: The direct unit's platform id and the file with its SM4 key in hex; unset: the simulator's.
    leqi_direct_unit_id: str | None = Field(default=None, min_length=1, max_length=32)
    leqi_key_file: Path | None = None
    #: Authorities (PEM) that LeQi's certificate is trusted by, instead of the usual ones.
    leqi_ca_file: Path | None = None
    #: SHA-256 of the public keys that LeQi's certificate may have, hex, one or more; unset: any that is trusted.
    leqi_public_key_pins: Annotated[frozenset[str] | None, NoDecode] = None
    #: A vendor's gateway that can list ranges; may carry a password, so it is left out of `repr`.
    channel_gateway_url: str | None = Field(default=None, repr=False)
    channel_gateway_url_file: Path | None = None
    #: From which day on next year's numbers may be claimed; unset: not before 1 January.
    next_year_from: Annotated[MonthDay | None, NoDecode] = None
    #: `/healthz`, `/readyz`, `/metrics`; 0 = off.
    http_port: int = Field(default=0, ge=0, le=65535)
    #: When the process believes that it starts; refused in production.
    clock: datetime | None = None
    #: Where the process dies as by `kill -9`, for tests: `name` or `name:nth` of `worker.crash_points`; refused in
    #: production.
    crash_at: str | None = None

    #: How long an issue request waits for stock before it is refused with `no-stock`.
    waiting_limit_hours: float = Field(default=24, gt=0, le=24 * 366, allow_inf_nan=False)
    #: How long a number may be assigned without an outcome before `outcome-overdue`; uploads must be done within 48 h.
    overdue_hours: float = Field(default=40, gt=0, le=24 * 366, allow_inf_nan=False)
    #: How long after New Year the old year's ranges still serve old-year requests: an upload may follow within 48 h of
    #: issue (domain rules 1 and 5).
    old_year_grace_hours: float = Field(default=48, ge=0, le=24 * 366, allow_inf_nan=False)
    #: For how many of the busiest hours of the last seven days a claim sized by demand is to last.
    demand_hours: float = Field(default=1, gt=0, le=24 * 31, allow_inf_nan=False)
    #: The least that is claimed, by demand and late in the year; a `claim_quantity` below it stays what it is.
    claim_floor: int = Field(default=100, ge=1, le=5000)
    #: A batch of deliveries closes at this many, or when its oldest has waited this long; while few come, at once.
    batch_size: int = Field(default=1000, ge=1, le=10_000)
    batch_age_ms: int = Field(default=20, ge=0, le=10_000)
    #: Deliveries of one topic that may be on their way or in work; never less than two batches.
    prefetch: int = Field(default=3000, ge=1, le=65_535)
    #: Queues over which the requests of one topic that carry a taxpayer id in their routing key are spread; 0 = off.
    shards: int = Field(default=0, ge=0, le=64)
    #: Calls to LeQi that one worker makes at the same time; a throttle answer lowers it for all workers.
    leqi_concurrency: int = Field(default=12, ge=1, le=64)
    #: Path of the claim service below `leqi_url`, with `{nlbm}` and `{fwbm}`; unset: the environment's own.
    leqi_path: str | None = None
    #: Sandbox acceptance: the case, header `ylbm`.
    leqi_sandbox_case: str | None = None
    #: Sandbox joint test: header `sxcsbz` = 1.
    leqi_joint_test: bool = False
    #: Folder with one file for each using unit, named by its id, holding its present `access_token`.
    leqi_access_token_dir: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        told = dict(given)
        for name in _BY_FILE:
            file = told.get(f"{name}_file")
            if file is None:
                continue
            if told.get(name) is not None:
                message = f"set {_PREFIX}{name.upper()} or {_PREFIX}{name.upper()}_FILE, not both"
                raise ValueError(message)
            told[name] = _content(name, Path(str(file)))
        return told

    @field_validator("leqi_public_key_pins", mode="before")
    @classmethod
    def _are_hashes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pins = frozenset(pin.strip().lower().replace(":", "") for pin in value.split(","))
        if not all(re.fullmatch(r"[0-9a-f]{64}", pin) for pin in pins):
            message = "must be SHA-256 of public keys, 64 hex digits each, separated by commas"
            raise ValueError(message)
        return pins

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, value: SecretStr) -> SecretStr:
        if _scheme(value.get_secret_value()) not in {"amqp", "amqps", "memory"}:
            message = "must begin with amqp://, amqps:// or memory://"
            raise ValueError(message)
        return value

    @field_validator("database_url")
    @classmethod
    def _names_a_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        address = value.get_secret_value()
        # libpq knows both words, SQLAlchemy only the longer one.
        if address.startswith("postgres://"):
            address = "postgresql://" + address.removeprefix("postgres://")
        if not address.startswith("postgresql://"):
            message = "must begin with postgresql://"
            raise ValueError(message)
        return SecretStr(address)

    @field_validator("leqi_url", "channel_gateway_url")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if _scheme(value) not in {"http", "https"} or not urlsplit(value).hostname:
            message = "must be an address like https://host:port"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("home")
    @classmethod
    def _stays_where_it_is(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("next_year_from", mode="before")
    @classmethod
    def _is_a_day_of_every_year(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        message = "must be a month and a day of every year, like 12-15"
        found = re.fullmatch(r"([0-9]{2})-([0-9]{2})", value)
        if found is None:
            raise ValueError(message)
        try:
            day = date(_ORDINARY_YEAR, int(found[1]), int(found[2]))
        except ValueError:
            raise ValueError(message) from None
        return MonthDay(day.month, day.day)

    @field_validator("clock", mode="before")
    @classmethod
    def _is_an_instant(cls, value: object) -> object:
        message = "must be an instant with its offset, like 2027-01-01T00:00:00+08:00"
        try:
            instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(message) from None
        if isinstance(instant, datetime) and instant.tzinfo is None:
            raise ValueError(message)
        return instant

    @field_validator("crash_at")
    @classmethod
    def _names_a_crash_point(cls, value: str | None) -> str | None:
        if value is not None:
            crash_points.parse(value)
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if self.prefetch < 2 * self.batch_size:
            message = "FUMA_PREFETCH must be at least twice FUMA_BATCH_SIZE, or the next batch can't gather meanwhile"
            raise ValueError(message)
        if self.leqi_public_key_pins and self.leqi_url is not None and _scheme(self.leqi_url) != "https":
            message = "FUMA_LEQI_PUBLIC_KEY_PINS needs an https:// address in FUMA_LEQI_URL"
            raise ValueError(message)
        if self.environment is Environment.PRODUCTION:
            _check_production(self)
        return self


def load_settings() -> Settings:
    """Read the environment and `.env`; raises `SettingsError` for what is wrong in them."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(problem) for problem in error.errors(include_url=False))) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"the file .env can't be read: {type(error).__name__}"
        raise SettingsError(message) from None


@contextmanager
def database_address(settings: Settings) -> Iterator[str]:
    """Give the address of the database, for as long as the block runs.

    Where none is set, an embedded PostgreSQL under `settings.home` is started, shared with every other process that
    uses the same folder, and stopped by the last of them.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    # The wheel with the server is only loaded by who needs it.
    from db.embedded import EmbeddedPostgres  # noqa: PLC0415

    with EmbeddedPostgres(settings.home) as address:
        yield address


def check_able_to_claim(settings: Settings) -> None:
    """Raise `SettingsError` where a worker's claims could go nowhere: no address of LeQi, or no identity of our own.

    The simulator's identity, which stands in where none is set, is worth nothing in production.
    """
    if settings.leqi_url is None:
        message = "FUMA_LEQI_URL is not set: give the address of LeQi or of a simulator (`fuma leqi-simulator`)"
        raise SettingsError(message)
    if settings.environment is Environment.PRODUCTION and (
        settings.leqi_direct_unit_id is None or settings.leqi_key_file is None
    ):
        message = "FUMA_LEQI_DIRECT_UNIT_ID and FUMA_LEQI_KEY_FILE must be set in production"
        raise SettingsError(message)


def _check_production(settings: Settings) -> None:
    if settings.clock is not None:
        message = "FUMA_CLOCK is for drills and tests: production runs on the true time"
        raise ValueError(message)
    if settings.crash_at is not None:
        message = "FUMA_CRASH_AT is for tests: nothing lets a worker die in production"
        raise ValueError(message)
    if settings.leqi_sandbox_case is not None or settings.leqi_joint_test:
        message = "FUMA_LEQI_SANDBOX_CASE and FUMA_LEQI_JOINT_TEST are for the sandbox only"
        raise ValueError(message)


def _content(name: str, path: Path) -> str:
    """Read an address from its file; whatever is wrong is said without showing any of it."""
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(_LONGEST_FILE + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is no text"
        message = f"the file of {_PREFIX}{name.upper()}_FILE can't be read: {why}"
        raise ValueError(message) from None
    if not content or len(content) > _LONGEST_FILE:
        message = f"the file of {_PREFIX}{name.upper()}_FILE must hold one address and nothing else"
        raise ValueError(message)
    return content


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme
    except ValueError:
        return ""


def _complaint(problem: ErrorDetails) -> str:
    """One problem in words, without the value that was given."""
    said = problem["msg"].removeprefix("Value error, ")
    return f"{_PREFIX}{str(problem['loc'][0]).upper()}: {said}" if problem["loc"] else said
