# syntax=docker/dockerfile:1.7
# arm64: builds and checks engines on a Jetson. TensorRT comes from NVIDIA's base image and must have the version of
# JetPack on the device. The defaults fit JetPack 6.1 and 6.2 (L4T 36.4, TensorRT 10.3). JetPack 7.2 and newer has no l4t
# image: set BASE_IMAGE=nvcr.io/nvidia/tensorrt:YY.MM-py3 and the TENSORRT_TAR of the same version.
# Built by k8s/images/build from a commit, without uncommitted changes. Without the extra `training`: no torch.
ARG BASE_IMAGE=nvcr.io/nvidia/l4t-tensorrt:r10.3.0-devel
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.8.15

# hadolint ignore=DL3006
FROM ${UV_IMAGE} AS uv

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3002
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /opt/robot-assets \
    && groupadd --gid 10001 robot \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin robot
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GIT_OPTIONAL_LOCKS=0 \
    ROBOT_ASSETS_PROJECT=/opt/robot-assets \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=all

# The Python bindings of TensorRT for our Python; JetPack has them only for the Python of the system. NVIDIA's archive has
# a wheel for each version of Python; only one file is kept.
FROM base AS tensorrt
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TENSORRT_TAR=https://developer.nvidia.com/downloads/compute/machine-learning/tensorrt/10.3.0/tars/TensorRT-10.3.0.26.l4t.aarch64-gnu.cuda-12.6.tar.gz
WORKDIR /wheels
RUN curl --fail --silent --show-error --location "${TENSORRT_TAR}" \
    | tar --extract --gzip --wildcards --strip-components=2 'TensorRT-*/python/tensorrt-*-cp311-*.whl' \
    && test "$(find . -name '*.whl' | wc -l)" -eq 1

# Python 3.11, as on the server: JetPack 6 has 3.10, JetPack 7 has 3.12.
FROM base AS dependencies
WORKDIR /build
RUN --mount=type=bind,from=uv,source=/uv,target=/usr/local/bin/uv \
    UV_PYTHON_INSTALL_DIR=/opt/python uv python install --no-bin 3.11.13 \
    && "$(UV_PYTHON_INSTALL_DIR=/opt/python uv python find 3.11.13)" -m venv /opt/venv
COPY pyproject.toml ./
# the pins are in pyproject.toml
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    touch README.md \
    && pip install --disable-pip-version-check --root-user-action=ignore ".[cluster,jetson]" \
    && pip uninstall --yes --root-user-action=ignore robot-assets
RUN --mount=type=bind,from=tensorrt,source=/wheels,target=/wheels \
    pip install --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps /wheels/*.whl

FROM base AS project
ARG COMMIT
RUN --mount=type=bind,target=/context \
    test -n "${COMMIT}" \
    && git -c safe.directory='*' clone --quiet --no-checkout --depth 1 file:///context /opt/robot-assets \
    && git -C /opt/robot-assets checkout --quiet --detach "${COMMIT}" \
    && git -C /opt/robot-assets remote remove origin \
    && install --directory --owner=10001 --group=10001 /opt/robot-assets/.robot_assets /opt/dagster/dagster_home

FROM dependencies AS edge
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
LABEL org.opencontainers.image.title="robot-assets edge" \
      org.opencontainers.image.revision="${COMMIT}"
WORKDIR /opt/robot-assets
USER 10001:10001
ENTRYPOINT []
CMD ["robot-assets", "--help"]
