"""Settings: the contract's table, and mistakes in one line that shows no value."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.vocabulary import Environment
from worker.settings import MonthDay, Settings, SettingsError, check_able_to_claim, database_address, load_settings

SECRET = "hunter2"  # noqa: S105 -- a password to look for


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FUMA_{name.upper()}", raising=False)


def refusal(monkeypatch: pytest.MonkeyPatch, **given: str) -> str:
    for name, value in given.items():
        monkeypatch.setenv(f"FUMA_{name.upper()}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_the_contracts_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.broker_url.get_secret_value() == "memory://"
    assert settings.database_url is None
    assert settings.home == tmp_path / ".fuma"
    assert settings.environment is Environment.SANDBOX
    assert settings.leqi_url is None
    assert settings.leqi_direct_unit_id is None
    assert settings.leqi_key_file is None
    assert settings.channel_gateway_url is None
    assert settings.next_year_from is None
    assert settings.http_port == 0
    assert settings.clock is None


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "BROKER_URL": "amqps://fuma:pass@broker/vhost",
        "DATABASE_URL": "postgres://fuma@host/fuma",
        "HOME": "/var/lib/fuma",
        "ENVIRONMENT": "production",
        "LEQI_URL": "https://leqi.example:8443/",
        "CHANNEL_GATEWAY_URL": "http://gateway",
        "NEXT_YEAR_FROM": "12-15",
        "HTTP_PORT": "8080",
        "LOG_LEVEL": "WARNING",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"FUMA_{name}", value)
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://fuma@host/fuma"
    assert settings.home == Path("/var/lib/fuma")
    assert settings.environment is Environment.PRODUCTION
    assert settings.leqi_url == "https://leqi.example:8443"
    assert settings.next_year_from == MonthDay(12, 15)
    assert settings.next_year_from < (12, 16)
    assert settings.http_port == 8080
    assert settings.log_level == "warning"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_DATABASE_URL", "")
    monkeypatch.setenv("FUMA_HTTP_PORT", "")
    settings = load_settings()
    assert (settings.database_url, settings.http_port) == (None, 0)


def test_a_file_is_read_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FUMA_HTTP_PORT=1\nFUMA_LOG_LEVEL=error\nOTHER=x\n", encoding="utf-8")
    monkeypatch.setenv("FUMA_HTTP_PORT", "2")
    settings = load_settings()
    assert (settings.http_port, settings.log_level) == (2, "error")


@pytest.mark.parametrize("content", [b"FUMA_HTTP_PORT=\xff\xfe"])
def test_a_file_that_cannot_be_read_is_said(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert ".env" in refusal(monkeypatch)


def test_the_clock_is_an_instant_with_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_CLOCK", "2027-01-01T00:00:00+08:00")
    assert load_settings().clock == datetime(2026, 12, 31, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broker_url", "redis://host"),
        ("broker_url", "host:5672"),
        ("broker_url", "http://[::1"),
        ("database_url", "mysql://host/fuma"),
        ("database_url", "host"),
        ("environment", "test"),
        ("leqi_url", "localhost:8000"),
        ("leqi_url", "https://"),
        ("leqi_url", "http://[::1"),
        ("channel_gateway_url", "ftp://host"),
        ("leqi_direct_unit_id", "x" * 33),
        ("next_year_from", "15-12"),
        ("next_year_from", "02-29"),
        ("next_year_from", "2026-12-15"),
        ("next_year_from", "soon"),
        ("http_port", "-1"),
        ("http_port", "65536"),
        ("http_port", "web"),
        ("clock", "2027-01-01"),
        ("clock", "2027-01-01T00:00:00"),
        ("clock", "1798732800"),
        ("clock", "tomorrow"),
        ("crash_at", "somewhere"),
        ("crash_at", "before-commit:0"),
        ("waiting_limit_hours", "0"),
        ("waiting_limit_hours", "nan"),
        ("overdue_hours", "0"),
        ("old_year_grace_hours", "-1"),
        ("batch_size", "0"),
        ("leqi_concurrency", "0"),
        ("log_level", "loud"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, **{name: value}).startswith(f"FUMA_{name.upper()}: ")


@pytest.mark.parametrize("name", ["broker_url", "database_url", "leqi_url", "channel_gateway_url", "http_port"])
def test_a_wrong_value_is_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECRET not in refusal(monkeypatch, **{name: f"other://fuma:{SECRET}@host"})


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, http_port="web", environment="test")
    assert "FUMA_HTTP_PORT" in said
    assert "FUMA_ENVIRONMENT" in said


def test_read_ahead_must_leave_room_for_a_second_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, batch_size="1000", prefetch="1999")
    assert "FUMA_PREFETCH" in said
    monkeypatch.setenv("FUMA_PREFETCH", "2000")
    assert load_settings().prefetch == 2000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clock", "2027-01-01T00:00:00Z"),
        ("crash_at", "before-commit"),
        ("leqi_sandbox_case", "1"),
        ("leqi_joint_test", "true"),
    ],
)
def test_what_is_for_tests_is_refused_in_production(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"FUMA_{name.upper()}" in refusal(monkeypatch, environment="production", **{name: value})


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_BROKER_URL", f"amqp://fuma:{SECRET}@broker")
    monkeypatch.setenv("FUMA_DATABASE_URL", f"postgresql://fuma:{SECRET}@host/fuma")
    monkeypatch.setenv("FUMA_CHANNEL_GATEWAY_URL", f"https://fuma:{SECRET}@gateway")
    settings = load_settings()
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


def test_the_database_that_is_set_is_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_DATABASE_URL", "postgresql://host/fuma")
    with database_address(load_settings()) as address:
        assert address == "postgresql://host/fuma"


def test_a_worker_needs_to_know_where_leqi_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="FUMA_LEQI_URL"):
        check_able_to_claim(load_settings())
    monkeypatch.setenv("FUMA_LEQI_URL", "http://127.0.0.1:8000")
    check_able_to_claim(load_settings())


def test_production_needs_an_identity_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_LEQI_URL", "https://leqi")
    monkeypatch.setenv("FUMA_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="FUMA_LEQI_KEY_FILE"):
        check_able_to_claim(load_settings())
    monkeypatch.setenv("FUMA_LEQI_DIRECT_UNIT_ID", "DU1")
    monkeypatch.setenv("FUMA_LEQI_KEY_FILE", "/run/secrets/sm4")
    check_able_to_claim(load_settings())
