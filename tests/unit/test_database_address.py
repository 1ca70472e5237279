"""An address that can't be read is refused by a line that shows nothing of it: a part of it may be a password."""

import pytest

from db.engine import open_engine

SECRET = "hunter2"  # noqa: S105 -- a password to look for


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://fuma:{SECRET}@127.0.0.1:none/fuma",
        # Not encoded: what is behind the "@" is taken for a host and a port.
        f"postgresql://fuma:not@encoded:{SECRET}@127.0.0.1:5432/fuma",
        f"postgresql://fuma:{SECRET}@more@127.0.0.1:5432/fuma",
        f"postgresql//fuma:{SECRET}@127.0.0.1/fuma",
        f"mysql://fuma:{SECRET}@127.0.0.1/fuma",
    ],
)
def test_what_can_not_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="FUMA_DATABASE_URL") as refused:
        open_engine(url, application="fuma-test")

    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
