# The same environment as `make setup`, without the development tools.
#   docker build -t lungseg . && docker run lungseg lungseg demo --root /tmp/demo
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

ENV NO_ALBUMENTATIONS_UPDATE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1

WORKDIR /opt/lungseg
COPY requirements.txt requirements-dev.txt ./
RUN python -m pip install "$(grep -oE '^uv==[0-9.]+' requirements-dev.txt)" \
    && uv pip sync --system --require-hashes requirements.txt

COPY pyproject.toml requirements.in README.md ./
COPY schema schema
COPY modules modules
COPY components components
COPY pipeline pipeline
RUN python -m pip install --no-deps . \
    && useradd --create-home lungseg

USER lungseg
WORKDIR /home/lungseg
CMD ["lungseg", "--help"]
