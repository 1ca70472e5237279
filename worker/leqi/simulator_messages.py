"""The words of the fake authority, in Chinese, as such a platform would say them.

Only `THROTTLED` is known from the real service; the other texts are ours.
Clients must not read anything out of those.
"""
# ruff: noqa: RUF001 -- Chinese punctuation is what the platform writes.

from typing import Final

STATUS: Final = {
    "500": "请求服务访问异常",
    "4032": "使用单位未获得服务授权",
    "4033": "未获得该服务的授权",
    "4047": "未找到对应的测试批次",
    "4049": "能力编码或服务编码不存在",
    "4054": "直连单位平台编号不存在",
    "4055": "使用单位平台编号不存在",
    "4057": "解密失败",
}
"""What goes with a status of the envelope that isn't 200."""

GRANTED: Final = "处理成功"
NOT_JSON: Final = "请求报文不是合法的JSON对象"
ESCAPED: Final = "请求报文不允许使用Unicode转义"
BAD_TAXPAYER: Final = "纳税人识别号不能为空且长度不能超过20"
BAD_QUANTITY: Final = "领用数量必须为1至5000之间的整数"
BAD_SERIAL: Final = "业务流水号不能为空且长度不能超过100"
SERIAL_TAKEN: Final = "业务流水号已被使用，且与原请求内容不一致"
REFUSED: Final = "当前纳税人状态异常，不允许领用"
BAD_CLIENT_TID: Final = "clientTid格式不正确"


def throttled(concurrency: int) -> str:
    """Say the throttle message of the LeQi guide with its limit filled in."""
    return f"当前访问请求较多，请5分钟后重试，将访问并发控制在{concurrency}以内"
