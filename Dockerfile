# One image for every part: docker run carillon worker | beat | flower | migrate | health
FROM python:3.13-slim AS build
WORKDIR /src
# Two builds of the same sources have the same files, byte for byte: nothing in them is the time of the build.
ENV SOURCE_DATE_EPOCH=315532800 PYTHONDONTWRITEBYTECODE=1
COPY requirements-worker.lock ./
RUN python -m venv /opt/carillon \
    && /opt/carillon/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements-worker.lock
COPY pyproject.toml README.md LICENSE ./
COPY producers producers
COPY config config
COPY worker worker
RUN /opt/carillon/bin/pip install --no-cache-dir --no-compile --no-deps --no-build-isolation ./producers . \
    && python -m compileall -q -j 1 --invalidation-mode unchecked-hash /opt/carillon \
    && find /opt/carillon -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM python:3.13-slim
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/carillon --create-home --shell /usr/sbin/nologin carillon
COPY --from=build /opt/carillon /opt/carillon
COPY deploy/probe.sh /usr/local/bin/carillon-probe
ENV PATH=/opt/carillon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CARILLON_LOG_FORMAT=json
WORKDIR /var/lib/carillon
# By number, so that Kubernetes can tell that it is not root. Any other user works too, and nothing has to be writable.
USER 10001
# SIGTERM: finish or hand back what is in flight. As PID 1 each part hears signals and buries orphans itself: no init is needed.
# No HEALTHCHECK: what to ask depends on the part. docker-compose.yml has one for each.
STOPSIGNAL SIGTERM
ENTRYPOINT ["carillon"]
CMD ["worker"]
