"""The broker as commands reach it: another process's, so never the one inside ours."""

from urllib.parse import urlsplit

from worker.cli.failures import CommandError
from worker.settings import Settings


def network_broker(settings: Settings) -> str:
    """Give the broker's URL; raises `CommandError` where it is `memory://`, which no two processes share."""
    url = settings.broker_url.get_secret_value()
    if urlsplit(url).scheme == "memory":
        message = (
            "FUMA_BROKER_URL is memory://, a broker inside one process only:"
            " set it to amqp://user:password@host:5672/vhost (`fuma demo` needs none)"
        )
        raise CommandError(message)
    return url
