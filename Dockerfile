# One image for every part: docker run carillon worker | beat | flower | migrate | health
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements-worker.lock ./
RUN python -m venv /opt/carillon \
    && /opt/carillon/bin/pip install --no-cache-dir --require-hashes -r requirements-worker.lock
COPY pyproject.toml README.md LICENSE ./
COPY producers producers
COPY config config
COPY worker worker
RUN /opt/carillon/bin/pip install --no-cache-dir --no-deps --no-build-isolation ./producers .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/carillon --create-home carillon
COPY --from=build /opt/carillon /opt/carillon
ENV PATH=/opt/carillon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CARILLON_LOG_FORMAT=json
WORKDIR /var/lib/carillon
USER carillon
# SIGTERM: finish or hand back what is in flight.
STOPSIGNAL SIGTERM
ENTRYPOINT ["carillon"]
CMD ["worker"]
