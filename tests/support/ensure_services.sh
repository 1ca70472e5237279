#!/bin/sh
# Sees to it that the programs are there which the tests start for themselves; nothing is started here.
# RabbitMQ's come from the machine. PostgreSQL's come with the project; where TLS is tested, from the machine too.
set -eu

# Programs of servers live where ordinary users' PATH doesn't look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/rabbitmq/sbin"

missing=""

if [ -z "${FUMA_TEST_BROKER_URL:-}" ] && ! command -v rabbitmq-server >/dev/null 2>&1; then
    missing="rabbitmq-server"
fi
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
    missing="$missing postgresql"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make test: not installed: $missing" >&2
    echo "  Install it, or name a RabbitMQ for tests alone by FUMA_TEST_BROKER_URL=amqp://user:password@host:5672/vhost" >&2
    exit 1
fi

# Debian's packages start their servers when they are installed. This file, which they ask, forbids it; it is there
# only meanwhile, and one that the machine has already is left as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "installing for the tests: $missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Several words on purpose: one package each.
# shellcheck disable=SC2086
apt-get install -qq --yes --no-install-recommends $missing >/dev/null
