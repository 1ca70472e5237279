"""The fake authority over a real socket, spoken to with requests written by hand."""

import errno
import http.client
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support import leqi_by_hand as by_hand
from tests.support.leqi_by_hand import HEADERS, TAXPAYER, sealed_claim
from tests.support.waiting import wait_until
from worker.leqi.simulator import Simulator, SimulatorError, StateError, Terms

SANDBOX = "/access/sandbox/v2/invoke/202007/QDFPPLFM/"
NO_FAULTS = {
    "latency_ms": 0,
    "lost_answer": 0.0,
    "refuse": 0.0,
    "throttle": 0.0,
    "error_500": 0.0,
    "bad_key": 0.0,
    "short_grant": 0.0,
    "overlapping_grant": 0.0,
    "wrong_year": 0.0,
    "wrong_channel": 0.0,
    "seed": 0,
}


def claim(
    client: httpx.Client,
    serial: str,
    quantity: int = 10,
    path: str = SANDBOX,
    taxpayer_id: str = TAXPAYER,
) -> httpx.Response:
    return client.post(path, content=sealed_claim(serial, quantity, taxpayer_id), headers=HEADERS)


def result_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    return by_hand.result_of(response.text)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.base_url, timeout=20) as connected:
        yield connected


@pytest.mark.parametrize(
    "path",
    [
        SANDBOX,
        SANDBOX.rstrip("/"),
        SANDBOX.replace("/sandbox", ""),
        SANDBOX.replace("/sandbox", "").rstrip("/"),
    ],
)
def test_a_range_is_claimed_on_every_path(client: httpx.Client, path: str) -> None:
    result = result_of(claim(client, "S1", 1000, path))
    assert int(result["fpzzhm"]) - int(result["fpqshm"]) + 1 == 1000
    assert int(result["lysl"]) == 1000
    assert result["fpqshm"][2:6] == "9570"


def test_the_grants_are_one_array_with_the_contract_s_fields(client: httpx.Client) -> None:
    assert client.get("/simulator/grants").json() == []
    first = result_of(claim(client, "S1", 5))
    claim(client, "S1", 5)
    claim(client, "S2", 7, taxpayer_id="91110000101623741K")
    grants = client.get("/simulator/grants").json()
    assert grants[0] == {
        "taxpayer_id": TAXPAYER,
        "business_serial": "S1",
        "quantity": 5,
        "first_number": first["fpqshm"],
        "last_number": first["fpzzhm"],
        "times_asked": 2,
    }
    assert [grant["business_serial"] for grant in grants] == ["S1", "S2"]


def test_an_unknown_service_is_answered_in_the_envelope(client: httpx.Client) -> None:
    response = claim(client, "S1", path="/access/v2/invoke/202007/NONE/")
    assert response.status_code == 200
    assert str(response.json()["httpStatusCode"]) == "4049"


def test_a_body_without_its_content_type_is_not_decrypted(client: httpx.Client) -> None:
    headers = HEADERS | {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post(SANDBOX, content=sealed_claim("S1"), headers=headers)
    assert str(response.json()["httpStatusCode"]) == "4057"


def test_a_lost_answer_closes_the_connection_and_can_be_asked_again(client: httpx.Client) -> None:
    client.put("/simulator/faults", json={"lost_answer": 1.0, "seed": 1})
    broken = set()
    for number in range(20):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            claim(client, f"S{number}")
        broken.add(caught.type)
    assert len(broken) == 2
    client.put("/simulator/faults", json={})
    grants = client.get("/simulator/grants").json()
    assert len(grants) == 20
    for grant in grants:
        result = result_of(claim(client, grant["business_serial"]))
        assert result["fpqshm"] == grant["first_number"]


def test_a_late_answer_is_granted_before_it_is_late(client: httpx.Client, simulator: Simulator) -> None:
    client.put("/simulator/faults", json={"latency_ms": 60_000})
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            SANDBOX,
            content=sealed_claim("S1", 3),
            headers=HEADERS,
            timeout=httpx.Timeout(20, read=0.3),
        )
    wait_until(lambda: bool(simulator.grants()), "the grant")
    (grant,) = simulator.grants()
    client.put("/simulator/faults", json={})
    assert result_of(claim(client, "S1", 3))["fpqshm"] == grant.first_number


def test_latency_holds_every_answer_back(client: httpx.Client, simulator: Simulator) -> None:
    client.put("/simulator/faults", json={"latency_ms": 60_000, "throttle": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        client.post(SANDBOX, content=sealed_claim("S1"), headers=HEADERS, timeout=httpx.Timeout(20, read=0.3))
    assert simulator.grants() == []


def test_the_faults_in_force_are_answered(client: httpx.Client) -> None:
    assert client.get("/simulator/faults").json() == NO_FAULTS
    asked = {"latency_ms": 200, "lost_answer": 0.3, "error_500": 0.2, "seed": 1}
    assert client.put("/simulator/faults", json=asked).json() == NO_FAULTS | asked
    assert client.get("/simulator/faults").json() == NO_FAULTS | asked
    assert client.put("/simulator/faults", json={"refuse": 1}).json() == (NO_FAULTS | {"refuse": 1.0})


def test_the_clock_decides_the_year_and_flows_on(client: httpx.Client) -> None:
    answer = client.put("/simulator/clock", json={"now": "2027-01-01T00:00:00+08:00"}).json()
    assert answer.keys() == {"now"}
    assert answer["now"].startswith("2027-01-01T00:00:00")
    assert answer["now"].endswith("+08:00")
    assert result_of(claim(client, "S1"))["fpqshm"].startswith("27")
    later = datetime.fromisoformat(client.get("/simulator/clock").json()["now"])
    assert later > datetime.fromisoformat(answer["now"])
    client.put("/simulator/clock", json={"now": "2026-12-31T15:00:00Z"})
    assert result_of(claim(client, "S2"))["fpqshm"].startswith("26")


def test_the_listing_is_paged(client: httpx.Client) -> None:
    for number in range(101):
        claim(client, f"S{number}", 2)
    claim(client, "OTHER", 2, taxpayer_id="91110000101623741K")
    first, second, third = (
        client.get("/channel/ranges", params={"taxpayer_id": TAXPAYER, "page": page}).json() for page in (1, 2, 3)
    )
    assert (first["page"], first["pages"], first["total"]) == (1, 2, 101)
    assert [len(page["items"]) for page in (first, second, third)] == [100, 1, 0]
    assert second["items"][0].keys() == {
        "first_number",
        "last_number",
        "quantity",
        "unused",
        "claimed_at",
        "taxpayer_id",
        "business_serial",
    }
    assert second["items"][0]["business_serial"] == "S100"
    everybody = client.get("/channel/ranges").json()
    assert everybody["total"] == 102
    nobody = client.get("/channel/ranges?taxpayer_id=NONE&page=").json()
    assert nobody == {"items": [], "page": 1, "pages": 1, "total": 0}


def test_the_listing_can_be_edited(client: httpx.Client) -> None:
    claim(client, "S1")
    claim(client, "S2")
    foreign = {
        "first_number": "26957000000000000001",
        "last_number": "26957000000000000050",
        "quantity": 50,
        "unused": 20,
        "claimed_at": "2026-01-02T03:04:05+08:00",
        "taxpayer_id": TAXPAYER,
        "business_serial": None,
    }
    edits = {"add": [foreign], "change": {"S2": {"unused": 1}}, "hide": ["S1"]}
    answer = client.put("/simulator/listing", json=edits)
    assert answer.json()["add"] == [foreign]
    assert client.get("/simulator/listing").json() == answer.json()
    changed, added = client.get("/channel/ranges").json()["items"]
    assert (changed["business_serial"], changed["unused"]) == ("S2", 1)
    assert added == foreign
    client.put("/simulator/listing", json={})
    assert client.get("/channel/ranges").json()["total"] == 2


@pytest.mark.parametrize("path", ["faults", "clock", "listing"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b"null",
        b"[" * 100_000,
        b'{"unknown": 1}',
        b'{"\\ud800\\n": 1}',
        b'{"kind": "listing"}',
        b'{"now": 1}',
        b'{"refuse": NaN}',
        b'{"hide": ["never granted\\n"]}',
    ],
)
def test_a_bad_body_is_answered_with_one_clear_line(client: httpx.Client, path: str, body: bytes) -> None:
    response = client.put(f"/simulator/{path}", content=body)
    assert response.status_code == 400
    assert response.text
    assert "\n" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "²", "9" * 5000])
def test_a_bad_page_is_answered_with_one_clear_line(client: httpx.Client, page: str) -> None:
    response = client.get("/channel/ranges", params={"page": page})
    assert response.status_code == 400
    assert response.text == "page must be a whole number from 1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", SANDBOX, 405),
        ("POST", "/access/v2/invoke/202007/", 404),
        ("POST", "/simulator/faults", 405),
        ("DELETE", "/simulator/grants", 405),
    ],
)
def test_other_addresses_and_methods_are_refused(client: httpx.Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert "\n" not in response.text


def test_a_huge_body_is_refused(client: httpx.Client) -> None:
    response = client.put("/simulator/faults", content=b" " * 3_000_000)
    assert response.status_code == 413


def test_concurrent_calls_get_ranges_of_their_own(simulator: Simulator) -> None:
    connections = [http.client.HTTPConnection(urlsplit(simulator.base_url).netloc, timeout=20) for _ in range(20)]
    for number, connection in enumerate(connections):
        connection.request("POST", SANDBOX, sealed_claim(f"S{number // 2}"), HEADERS)
    for connection in connections:
        assert connection.getresponse().status == 200
        connection.close()
    grants = simulator.grants()
    assert [grant.times_asked for grant in grants] == [2] * 10
    firsts = sorted(int(grant.first_number) for grant in grants)
    assert firsts == list(range(firsts[0], firsts[0] + 100, 10))


def test_an_outage_keeps_address_and_grants() -> None:
    with Simulator() as simulator:
        url = simulator.base_url
        with httpx.Client(base_url=url) as client:
            first = result_of(claim(client, "S1"))
        simulator.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "/simulator/grants")
        assert simulator.start() == url
        assert simulator.start() == url
        with httpx.Client(base_url=url) as client:
            assert result_of(claim(client, "S1")) == first


def test_stopping_cuts_a_late_answer() -> None:
    with Simulator() as simulator:
        simulator.put_faults(latency_ms=600_000)
        connection = http.client.HTTPConnection(urlsplit(simulator.base_url).netloc, timeout=20)
        connection.request("POST", SANDBOX, sealed_claim("S1"), HEADERS)
        wait_until(lambda: bool(simulator.grants()), "the grant")
        simulator.stop()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        connection.close()
        assert len(simulator.grants()) == 1


def test_the_same_can_be_done_in_process(simulator: Simulator, client: httpx.Client) -> None:
    claim(client, "S1")
    assert simulator.put_faults(refuse=1.0, seed=4).seed == 4
    assert client.get("/simulator/faults").json()["refuse"] == 1.0
    now = simulator.put_clock(datetime.fromisoformat("2027-01-01T00:00:00+08:00"))
    shown = datetime.fromisoformat(client.get("/simulator/clock").json()["now"])
    assert now <= shown < now + timedelta(minutes=5)
    simulator.put_listing({"hide": ["S1"]})
    assert client.get("/channel/ranges").json()["total"] == 0
    with pytest.raises(ValueError, match="S9"):
        simulator.put_listing({"hide": ["S9"]})


def test_a_port_in_use_is_said_in_one_line(simulator: Simulator) -> None:
    port = urlsplit(simulator.base_url).port or 0
    with pytest.raises(SimulatorError, match=f"127.0.0.1:{port}") as caught:
        Simulator(port).start()
    assert "\n" not in str(caught.value)
    with pytest.raises(SimulatorError):
        Simulator(70_000).start()


def test_a_failed_start_lets_go_of_the_state_file(simulator: Simulator, tmp_path: Path) -> None:
    port = urlsplit(simulator.base_url).port or 0
    path = tmp_path / "state"
    with pytest.raises(SimulatorError), Simulator(port, path):
        pytest.fail("it can't have started")
    with Simulator(0, path) as other:
        assert other.grants() == []


def test_terms_are_the_caller_s() -> None:
    terms = Terms(direct_unit_id="DU2", using_unit_ids=frozenset({"UU2"}))
    with Simulator(terms=terms) as simulator, httpx.Client(base_url=simulator.base_url) as client:
        assert str(claim(client, "S1").json()["httpStatusCode"]) == "4054"
        headers = HEADERS | {"jrdwptbh": "DU2", "sydwptbh": "UU2"}
        response = client.post(SANDBOX, content=sealed_claim("S1"), headers=headers)
        assert result_of(response)["returncode"] == "00"


def test_nothing_is_granted_where_it_can_not_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    with (
        Simulator(state=path) as simulator,
        httpx.Client(base_url=simulator.base_url) as client,
    ):

        def full_disk(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("worker.leqi.simulator_journal.os.fsync", full_disk)
            response = claim(client, "S1")
        assert response.status_code == 500
        assert response.text == "the state file can't be written"
        assert simulator.grants() == []
        assert result_of(claim(client, "S1"))["returncode"] == "00"
        with pytest.raises(StateError, match="another simulator"):
            Simulator(state=path)


def test_a_client_that_hangs_up_early_harms_nobody(simulator: Simulator, client: httpx.Client) -> None:
    address = urlsplit(simulator.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(b"POST " + SANDBOX.encode() + b" HTTP/1.1\r\nHost: x\r\n")
        connection.sendall(b"Content-Length: 100\r\n\r\nhalf")
    assert result_of(claim(client, "S1"))["returncode"] == "00"
