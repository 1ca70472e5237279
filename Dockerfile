# The worker and every other command of `fuma`, as an ordinary user, on a read-only root.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# What the image needs, without pip and without the tools of development; each file is checked by its hash.
COPY requirements-runtime.lock ./
RUN python -m venv --without-pip /opt/fuma \
    && python -m pip --python /opt/fuma/bin/python install --require-hashes --requirement requirements-runtime.lock
# The builder of our own package comes from the lock too, and stays in this stage.
COPY requirements.lock ./
RUN python -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY schemas ./schemas
COPY db ./db
COPY worker ./worker
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m pip --python /opt/fuma/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/fuma/bin/python -m compileall -q /opt/fuma/lib

FROM python:3.11-slim-bookworm
# A fixed number, so that volumes and mounted files can be given to it.
RUN groupadd --gid 10001 fuma \
    && useradd --uid 10001 --gid fuma --home-dir /var/lib/fuma --create-home --shell /usr/sbin/nologin fuma
COPY --from=build /opt/fuma /opt/fuma
ENV PATH=/opt/fuma/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# The only folder that is written to: the simulator's state, or the embedded parts of `fuma demo`.
WORKDIR /var/lib/fuma
# No HEALTHCHECK here: only `fuma worker` has a health page, and its port is a setting (docker-compose.yml asks it).
ENTRYPOINT ["fuma"]
CMD ["--help"]
