# The command `covalue` with all that contributor, coordinator, member, auditor and API need.
FROM python:3.11-slim-bookworm AS build
# Arguments for pip when it fetches torch, such as an index of CPU builds.
ARG TORCH_PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/covalue
ENV PATH=/opt/covalue/bin:$PATH
RUN pip install ${TORCH_PIP_ARGS} torch==2.13.0
WORKDIR /source
COPY . .
RUN pip install .

FROM python:3.11-slim-bookworm
# libgomp: torch and scipy. Nothing else is added to the base image.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /home/covalue covalue \
    && install -d -o covalue -g covalue /state /deployment /node /witness
COPY --from=build /opt/covalue /opt/covalue
ENV PATH=/opt/covalue/bin:$PATH \
    OMP_NUM_THREADS=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    PYTHONUNBUFFERED=1
USER covalue
WORKDIR /state
ENTRYPOINT ["covalue"]
CMD ["--help"]
