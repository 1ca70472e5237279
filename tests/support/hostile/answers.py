"""Answers as a hostile or broken LeQi, or whatever stands in its place, makes them."""

import json
from typing import Any

from tests.support.hostile.dice import Dice
from tests.support.hostile.messages import NASTY_BYTES, NASTY_VALUES
from worker.leqi.port import Answer, Granted, Refused, Throttled, Unknown
from worker.leqi.sm4 import Sm4

CIPHER = Sm4(bytes.fromhex("0123456789abcdeffedcba9876543210"))

_STATUSES = (200, 200, 200, 200, 201, 204, 301, 302, 400, 403, 404, 418, 429, 500, 502, 503, 999)
_CODES = ("00", "0", 0, "200", 200, 200.0, "-1", -1, "500", "5001", "40321", "4057", "01", "99", "")
_NOTICES = (
    "当前访问请求较多，请5分钟后重试，将访问并发控制在3以内",
    "当前訪問請求較多,請5分鐘後重試",
    "并发控制在" + "9" * 5000 + "以内",
    "处理中",
)
_LONGEST_WORDS = 2000


def _result(dice: Dice) -> bytes:
    result: dict[str, Any] = {
        "returncode": "00" if dice.number(0, 2) else dice.of(_CODES),
        "returnmsg": "ok",
        "fpqshm": "26447000000000000001",
        "fpzzhm": "26447000000000001000",
        "lysl": 1000 if dice.number(0, 2) else dice.of(("1000", 1000.0, -1, "", "9" * 4000, None, True)),
    }
    for _ in range(dice.number(0, 2)):
        result[dice.of(tuple(result))] = dice.of((*NASTY_VALUES, *_NOTICES))
    return _damaged(dice, json.dumps(result).encode())


def _damaged(dice: Dice, content: bytes) -> bytes:
    for _ in range(dice.of((0, 0, 0, 1, 2))):
        place = dice.number(0, len(content))
        piece = dice.of(NASTY_BYTES)
        content = content[:place] + piece + content[place + dice.number(0, 8) :]
    return content


def hostile_answer(dice: Dice) -> tuple[int, bytes]:
    """Throw the HTTP status and the content of an answer to a claim."""
    data: object = CIPHER.encrypt(_result(dice)).decode()
    if not dice.number(0, 5):
        data = dice.of(NASTY_VALUES)
    response: dict[str, Any] = {"RequestId": "r-1", "Data": data}
    if not dice.number(0, 3):
        response["Error"] = {
            "Code": dice.of((*_CODES, *NASTY_VALUES)),
            "Message": dice.of((*_NOTICES, *NASTY_VALUES)),
        }
    body: object = {"Response": response}
    if not dice.number(0, 7):
        body = dice.of(NASTY_VALUES)
    for _ in range(dice.number(0, 3)):
        body = json.dumps(body)
    outer = {
        "httpStatusCode": dice.of(("200", "200", 200, *_CODES, *NASTY_VALUES)) if not dice.number(0, 3) else 200,
        "body": body,
    }
    content = json.dumps(outer, ensure_ascii=dice.coin()).encode(errors="surrogatepass")
    if not dice.number(0, 9):
        content = dice.of((b"", b"<html>403</html>", "请5分钟后重试".encode("gb18030"), b"\xff" * 9000))
    return 200 if dice.number(0, 3) else dice.of(_STATUSES), _damaged(dice, content)


def hostile_page(dice: Dice) -> bytes:
    """Throw one page of a gateway's listing."""
    item: dict[str, Any] = {
        "first_number": "26447000000000000001",
        "last_number": "26447000000000001000",
        "quantity": 1000,
        "unused": "7",
        "claimed_at": "2026-01-01",
        "taxpayer_id": "91350100M000100Y43",
        "business_serial": "S-1",
    }
    items: list[object] = []
    for _ in range(dice.number(0, 3)):
        changed = dict(item)
        for _ in range(dice.number(0, 2)):
            changed[dice.of(tuple(item))] = dice.of(NASTY_VALUES)
        items.append(changed if dice.number(0, 9) else dice.of(NASTY_VALUES))
    page: object = items
    if dice.coin():
        page = {"items": items, "pages": dice.of(NASTY_VALUES), "next_page": None}
    return _damaged(dice, json.dumps(page).encode())


def check_answer(answer: Answer) -> None:
    """Insist on what is promised of every answer's meaning: one of four, in words that fit a log and an event."""
    words = _words(answer)
    assert len(words) < _LONGEST_WORDS
    assert words.isprintable(), words
    words.encode()


def _words(answer: Answer) -> str:
    match answer:
        case Granted(first_number=first, last_number=last):
            return first + last
        case Refused(code=code, message=message):
            return code + message
        case Throttled(concurrency=concurrency, message=message):
            assert concurrency is None or concurrency > 0
            return message
        case Unknown(detail=detail):
            return detail
