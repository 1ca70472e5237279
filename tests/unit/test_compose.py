"""docker-compose.yml and what it mounts agree with each other, with the command line and with the settings.

That the file is a Compose file at all is checked by its schema, in `make check`.
"""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from schemas.organizations import read_organizations
from worker.broker.definitions import USERS
from worker.cli.definitions import password_variable
from worker.cli.entry import run
from worker.cli.roles import PASSWORD_VARIABLES
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

#: Services that end by themselves; the others have no end.
ONE_SHOT = {"broker-definitions", "migrate", "organizations", "roles"}
#: Long-lived, without a port that could be asked.
WITHOUT_PORT = {"scheduler", "watch"}

_FUMA_IMAGE = "fuma:"
_CONDITIONS = {"service_healthy", "service_completed_successfully"}
_ASKED = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")


def fuma_services() -> list[str]:
    """Name the services that run our image."""
    return [name for name, service in SERVICES.items() if service["image"].startswith(_FUMA_IMAGE)]


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Give each mount as source and mode."""
    return [(parts[0], parts[2] if len(parts) > 2 else "rw") for parts in _split(service.get("volumes", []))]


def _split(volumes: list[str]) -> list[list[str]]:
    return [volume.split(":") for volume in volumes]


def test_every_part_that_fuma_needs_is_there() -> None:
    assert set(SERVICES) == {
        "rabbitmq",
        "postgres",
        "broker-definitions",
        "roles",
        "leqi-simulator",
        "migrate",
        "organizations",
        "worker",
        "scheduler",
        "watch",
        "prometheus",
        "grafana",
    }
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", fuma_services())
def test_a_command_and_its_options_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    # --help is read last: an unknown command or option is an error before it.
    assert run([*SERVICES[name]["command"], "--help"]) == 0
    # The help of the very command, not that of the whole.
    words = [word for word in SERVICES[name]["command"] if not word.startswith("-")]
    assert f"fuma {words[0]}" in capsys.readouterr().out


def test_every_command_that_its_head_names_can_be_called(capsys: pytest.CaptureFixture[str]) -> None:
    head = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").partition("\nname:")[0]
    called = re.findall(r"exec (?:worker|watch) fuma (.+)$", head, re.MULTILINE)
    assert len(called) > 1
    for words in called:
        assert run([*shlex.split(words), "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", SERVICES)
def test_settings_are_those_that_fuma_has(name: str) -> None:
    known = {f"FUMA_{field.upper()}" for field in Settings.model_fields}
    known |= {*PASSWORD_VARIABLES, *(password_variable(user.name) for user in USERS)}
    given = {variable for variable in SERVICES[name].get("environment", {}) if variable.startswith("FUMA_")}
    assert given <= known


def test_a_workers_settings_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in SERVICES["worker"]["environment"].items():
        monkeypatch.setenv(variable, _ASKED.sub("secret", value))
    settings = Settings()
    assert settings.leqi_url is not None
    for address in (
        settings.broker_url.get_secret_value(),
        settings.database_url.get_secret_value() if settings.database_url else "",
        settings.leqi_url,
        settings.channel_gateway_url or "",
    ):
        assert urlsplit(address).hostname in SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_exists_and_gets_there(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in _CONDITIONS
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert other in ONE_SHOT


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_bounded_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in ONE_SHOT | WITHOUT_PORT)
    assert service["restart"].startswith("on-failure" if name in ONE_SHOT else "unless-stopped")
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_version_and_no_host(name: str) -> None:
    repository, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"[a-z]+(/[a-z]+)?", repository)
    assert re.fullmatch(r"v?\d+(\.\d+)*(-[a-z]+)?", tag)


@pytest.mark.parametrize("name", SERVICES)
def test_only_pages_for_people_are_published_and_only_here(name: str) -> None:
    published = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert bool(published) == (name in {"rabbitmq", "prometheus", "grafana"})


@pytest.mark.parametrize("name", fuma_services())
def test_fuma_needs_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_volume_is_declared_and_used() -> None:
    sources = {source for service in SERVICES.values() for source, _ in mounts(service)}
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_files_come_from_this_repository_and_are_only_read(name: str) -> None:
    for source, mode in mounts(SERVICES[name]):
        if source.startswith((".", "/")):
            file = (ROOT / source).resolve()
            assert file.is_relative_to(ROOT)
            assert file.is_file()
            assert mode == "ro"


def test_every_secret_is_asked_for_and_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / "deploy/env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert set(_ASKED.findall(text)) == named
    # Without :? an unset one would be an empty password.
    assert text.count("${") == len(_ASKED.findall(text))


def test_the_example_of_organisations_can_be_imported() -> None:
    file = ROOT / "examples/organizations.yaml"
    entries = read_organizations(file.read_text(encoding="utf-8"), suffix=file.suffix)
    assert len({entry.code for entry in entries}) == len(entries) > 1


def test_prometheus_asks_the_workers_where_they_answer() -> None:
    file = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = file["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert str(found["port"]) == SERVICES["worker"]["environment"]["FUMA_HTTP_PORT"]


def test_grafana_asks_prometheus_where_it_answers() -> None:
    file = yaml.safe_load((ROOT / "deploy/grafana/datasource.yml").read_text(encoding="utf-8"))
    (source,) = file["datasources"]
    address = urlsplit(source["url"])
    assert address.hostname == "prometheus"
    assert f"127.0.0.1:{address.port}:{address.port}" in SERVICES["prometheus"]["ports"]


def test_each_service_has_the_users_that_may_do_its_work() -> None:
    users = {
        name: {
            word: urlsplit(_ASKED.sub("secret", service["environment"][variable])).username
            for word, variable in (("broker", "FUMA_BROKER_URL"), ("database", "FUMA_DATABASE_URL"))
            if variable in service["environment"]
        }
        for name, service in SERVICES.items()
        if name in fuma_services() and "environment" in service
    }
    assert users == {
        "broker-definitions": {},
        # The image's own administrator, who makes the others.
        "roles": {"database": SERVICES["postgres"]["environment"]["POSTGRES_USER"]},
        "migrate": {"database": "fuma_owner"},
        "organizations": {"broker": "fuma-worker", "database": "fuma_worker"},
        "worker": {"broker": "fuma-worker", "database": "fuma_worker"},
        "scheduler": {"broker": "fuma-upstream"},
        "watch": {"broker": "fuma-operator", "database": "fuma_reader"},
    }


def test_every_user_of_the_broker_gets_its_password() -> None:
    given = set(SERVICES["broker-definitions"]["environment"])
    assert given == {password_variable(user.name) for user in USERS}
    assert set(PASSWORD_VARIABLES) < set(SERVICES["roles"]["environment"])
    # The file that is written is the one that is imported.
    written = Path(SERVICES["broker-definitions"]["command"][-1])
    conf = (ROOT / "deploy/rabbitmq/fuma.conf").read_text(encoding="utf-8")
    assert f"load_definitions = /etc/rabbitmq/definitions/{written.name}\n" in conf
    assert "rabbitmq-definitions:/etc/rabbitmq/definitions:ro" in SERVICES["rabbitmq"]["volumes"]
    assert SERVICES["broker-definitions"]["volumes"] == [f"rabbitmq-definitions:{written.parent}"]


def test_prometheus_and_grafana_find_what_is_mounted() -> None:
    def mounted(service: str) -> dict[str, str]:
        return {parts[1]: parts[0] for parts in _split(SERVICES[service]["volumes"])}

    file = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert set(file["rule_files"]) <= set(mounted("prometheus"))
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/dashboards.yml").read_text(encoding="utf-8"))["providers"]
    assert f"{provider['options']['path']}/fuma.json" in mounted("grafana")
