# syntax=docker/dockerfile:1.7
# amd64, two images with common layers:
#   server  webserver, daemon, code location, run workers
#   train   the same with the extra `training`; CUDA comes with the torch wheels, the driver with runtime class nvidia
# Built by k8s/images/build from a commit, without uncommitted changes.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# git: data pointers in repositories, and the commit in every record
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /opt/robot-assets \
    && groupadd --gid 10001 robot \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin robot
# the root file system is read-only, so caches are below /tmp
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GIT_OPTIONAL_LOCKS=0 \
    ROBOT_ASSETS_PROJECT=/opt/robot-assets

# Dependencies change rarely, the project with every commit: separate layers.
FROM base AS dependencies
WORKDIR /build
RUN python -m venv /opt/venv
COPY pyproject.toml ./
# cpu: the server image publishes the platform of the target `cpu`, and needs the ONNX Runtime of its steps.
# The pins are in pyproject.toml.
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    touch README.md \
    && pip install --disable-pip-version-check --root-user-action=ignore ".[cluster,cpu]" \
    && pip uninstall --yes --root-user-action=ignore robot-assets

FROM dependencies AS training
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore ".[cluster,training]" \
    && pip uninstall --yes --root-user-action=ignore robot-assets

# Exactly the commit, with its .git, so that records have the commit and show that nothing was changed.
FROM base AS project
ARG COMMIT
RUN --mount=type=bind,target=/context \
    test -n "${COMMIT}" \
    && git -c safe.directory='*' clone --quiet --no-checkout --depth 1 file:///context /opt/robot-assets \
    && git -C /opt/robot-assets checkout --quiet --detach "${COMMIT}" \
    && git -C /opt/robot-assets remote remove origin \
    && install --directory --owner=10001 --group=10001 /opt/robot-assets/.robot_assets /opt/dagster/dagster_home

FROM dependencies AS server
ARG COMMIT
ARG IMAGE
COPY --from=project /opt/robot-assets /opt/robot-assets
COPY --from=project --chown=10001:10001 /opt/dagster /opt/dagster
# packages/: networks and plug-ins of one's own (docs/networks.md). Code versions read their source in every image; only
# steps of the image train import them.
RUN pip install --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps --editable /opt/robot-assets \
    && for package in /opt/robot-assets/packages/*/pyproject.toml; do \
         [ ! -e "${package}" ] || \
         pip install --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps --editable "${package%/*}" || exit 1; \
       done \
    && python -m compileall -q /opt/robot-assets/robot_assets /opt/robot-assets/dagster_project
ENV ROBOT_ASSETS_IMAGE=${IMAGE}
LABEL org.opencontainers.image.title="robot-assets server" \
      org.opencontainers.image.revision="${COMMIT}"
WORKDIR /opt/robot-assets
USER 10001:10001
CMD ["robot-assets", "--help"]

FROM training AS train
ARG COMMIT
ARG IMAGE
COPY --from=project /opt/robot-assets /opt/robot-assets
COPY --from=project --chown=10001:10001 /opt/dagster /opt/dagster
RUN pip install --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps --editable /opt/robot-assets \
    && for package in /opt/robot-assets/packages/*/pyproject.toml; do \
         [ ! -e "${package}" ] || \
         pip install --disable-pip-version-check --root-user-action=ignore --no-cache-dir --editable "${package%/*}" || exit 1; \
       done \
    && python -m compileall -q /opt/robot-assets/robot_assets /opt/robot-assets/dagster_project
# the driver capabilities of the container, and the folder for code that torch compiles
ENV ROBOT_ASSETS_IMAGE=${IMAGE} \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
LABEL org.opencontainers.image.title="robot-assets train" \
      org.opencontainers.image.revision="${COMMIT}"
WORKDIR /opt/robot-assets
USER 10001:10001
CMD ["robot-assets", "--help"]
