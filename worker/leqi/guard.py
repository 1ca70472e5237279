"""What production refuses: an authority whose numbers are worthless."""

from typing import Final

from schemas.vocabulary import Environment
from worker.leqi.simulator_identity import SIMULATOR_KEY_HEX
from worker.leqi.transport import BoundedHttp, Fetched, FetchError, Peer

LEQI: Final = Peer(name="LeQi", setting="FUMA_LEQI_URL")
_SUCCESSES: Final = range(200, 300)


def refuse_simulator(
    base_url: str,
    key_hex: str,
    environment: Environment,
    *,
    http: BoundedHttp | None = None,
) -> str | None:
    """Return why production must not use this authority, None if nothing speaks against it.

    Refused are the simulator's public key, and a server that answers `GET /simulator/grants`
    with JSON that isn't LeQi's own envelope (contract, `FUMA_LEQI_KEY_FILE`).
    A server that can't be reached isn't refused, as nothing can be claimed from it either:
    ask again when it is back.
    Raises `ValueError` if `base_url` is no address. Outside production: None, without asking.
    `http` is how LeQi is asked, where not as everybody is, and is left open.
    """
    if environment is not Environment.PRODUCTION:
        return None
    if "".join(key_hex.split()).lower() == SIMULATOR_KEY_HEX:
        return "FUMA_LEQI_KEY_FILE holds the simulator's key, which is public: production needs the direct unit's own"
    if _answers_as_simulator(base_url, http or BoundedHttp(LEQI), keep_open=http is not None):
        return (
            "the server at FUMA_LEQI_URL is a simulator (it answers /simulator/grants): "
            "its numbers are worthless in production"
        )
    return None


def _answers_as_simulator(base_url: str, http: BoundedHttp, *, keep_open: bool) -> bool:
    try:
        return _lists_grants(http.get(base_url, "/simulator/grants"))
    except FetchError as error:
        # LeQi's own refusals are short; a list of many grants is not.
        return error.too_large
    finally:
        if not keep_open:
            http.close()


def _lists_grants(answer: Fetched) -> bool:
    content = answer.content.lstrip()
    return answer.status in _SUCCESSES and (
        content.startswith(b"[") or (content.startswith(b"{") and b'"httpStatusCode"' not in content)
    )
