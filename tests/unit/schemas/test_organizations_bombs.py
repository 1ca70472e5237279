"""YAML that would grow without end is refused; merge keys of honest size are not."""

import pytest

from schemas.organizations import OrganizationsError, read_organizations

_HONEST = """
- &first {code: A, name: One, taxpayer_id: 91350100M000100Y43, channel_mode: self-use, using_unit_id: U1}
- {<<: *first, code: B}
"""


def merges(levels: int) -> str:
    """Merge ten times what merges ten times, and so on."""
    lines = ["- x: &a0 {k: v}"]
    lines += [f"- x: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


def laughs(levels: int) -> str:
    lines = ["- x: &a0 [lol, lol]"]
    lines += [f"- x: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"- {{code: *a{levels - 1}, name: *a{levels - 1}}}"])


def test_merges_of_merges_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(OrganizationsError, match="merge keys bring too much"):
        read_organizations(merges(30), suffix=".yaml")


@pytest.mark.parametrize("text", [laughs(30), "- &a [*a]", "- &a {code: *a}", "- code: 0x" + "f" * 5000])
def test_what_refers_to_itself_or_to_very_much_is_refused(text: str) -> None:
    with pytest.raises(OrganizationsError) as refused:
        read_organizations(text, suffix=".yaml")
    assert len(str(refused.value)) < 2000


def test_an_honest_merge_is_read() -> None:
    assert [entry.code for entry in read_organizations(_HONEST, suffix=".yaml")] == ["A", "B"]
