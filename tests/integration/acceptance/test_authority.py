"""The fake authority from outside: what it grants, grants again, lists and remembers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.outside.authority import Authority, decrypt, encrypt
from tests.support.outside.identities import organization
from tests.support.outside.processes import Fuma


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """An authority that keeps its state in a file."""
    authority = Authority(Fuma(tmp_path), state=tmp_path / "authority.state")
    yield authority
    authority.close()


def test_the_vector_of_the_form() -> None:
    """Made with two independent implementations."""
    text = b'{"nsrsbh":"91440300587908164C","lysl":1000,"ywlsh":"U000001D0000010123456789abcdef0123456789ABCDEF"}'
    sealed = (
        "lhXvfeCDi90doSbmW/9T4ZYmBAQvaFGP0pWqIZTh0JGqPZxxpTDnxSZ9rAkgpTN8Fpx9t51ePEaWq12usqLZcWDzObMRl7Sdbc1QKj1r7a4nUTPp"
        "exYUem1MiqErkDSK/4YnveQ/EM5HVVqSMFFfbQ=="
    )
    assert encrypt(text) == sealed
    assert decrypt(sealed) == text


def test_a_serial_asked_again_gets_its_range_and_survives_a_restart(authority: Authority) -> None:
    org = organization(channel_mode="joint")
    first = authority.claim(org, 25)
    (grant,) = authority.grants()
    assert (grant["first_number"], grant["last_number"], grant["quantity"], grant["times_asked"]) == (
        first["fpqshm"],
        first["fpzzhm"],
        25,
        1,
    )
    authority.restart()
    again = authority.claim(org, 25, serial=grant["business_serial"])
    assert (again["fpqshm"], again["fpzzhm"]) == (first["fpqshm"], first["fpzzhm"])
    (grant,) = authority.grants(org.taxpayer_id)
    assert grant["times_asked"] == 2
    other = authority.claim(org, 5)
    assert other["fpqshm"] > first["fpzzhm"]


def test_its_clock_decides_the_year(authority: Authority) -> None:
    authority.clock("2027-01-01T00:00:00+08:00")
    assert authority.claim(organization(), 1)["fpqshm"].startswith("27")


def test_faults_left_out_are_none(authority: Authority) -> None:
    assert authority.faults(lost_answer=0.5, latency_ms=10)["lost_answer"] == 0.5
    told = authority.faults()
    assert {name: value for name, value in told.items() if value and name != "seed"} == {}
    assert {
        "latency_ms", "lost_answer", "refuse", "throttle", "error_500", "bad_key", "short_grant", "overlapping_grant",
        "wrong_year", "wrong_channel", "seed",
    } == set(told)  # fmt: skip


def test_a_lost_answer_is_granted_all_the_same(authority: Authority) -> None:
    authority.faults(lost_answer=1.0)
    org = organization()
    with pytest.raises(httpx.TransportError):
        authority.claim(org, 5)
    assert [grant["quantity"] for grant in authority.grants(org.taxpayer_id)] == [5]


def test_the_gateway_lists_every_page(authority: Authority) -> None:
    org, other = organization(), organization()
    serials = set()
    for _ in range(130):
        authority.claim(org, 1)
    authority.claim(other, 1)
    page = 1
    while items := authority.listing(org.taxpayer_id, page):
        assert {item["taxpayer_id"] for item in items} == {org.taxpayer_id}
        serials |= {item["business_serial"] for item in items}
        page += 1
    assert serials == {grant["business_serial"] for grant in authority.grants(org.taxpayer_id)}
