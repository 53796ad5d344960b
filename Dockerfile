# The pipeline and what it runs on, without compilers, installers and caches.
#   docker build -t lungseg . && docker run --rm -v lungseg:/work lungseg lungseg demo
# For GPUs: docker build -t lungseg:gpu --build-arg REQUIREMENTS=requirements-gpu.txt .
# It runs as any user on a read-only file system, given a tmpfs on /tmp and a volume to work in.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# A stage of its own, so that a new development tool does not install everything anew.
FROM ${BASE_IMAGE} AS installer
COPY requirements-dev.txt /tmp/
RUN python3 -m venv /opt/installer \
    && sed -n '/^uv==/,/[^\\]$/p' /tmp/requirements-dev.txt > /tmp/uv.txt \
    && /opt/installer/bin/python -m pip install --no-cache-dir --require-hashes --requirement /tmp/uv.txt

FROM ${BASE_IMAGE} AS dependencies
ARG REQUIREMENTS=requirements.txt
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_PYTHON=/opt/lungseg/bin/python
# hadolint ignore=DL3008,DL3009
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
COPY --from=installer /opt/installer/bin/uv /usr/local/bin/
COPY ${REQUIREMENTS} /tmp/requirements.txt
# Removed is what running needs not: headers to build TensorFlow's extensions with, a C++ parser that nothing imports,
# test suites (NumPy's stay, as numpy.testing imports them) and the linker's symbols. Libraries that wheels bundle have
# been edited, which strip may not survive, and NVIDIA's stay as they are licensed.
RUN python3 -m venv --without-pip /opt/lungseg \
    && uv pip sync --require-hashes /tmp/requirements.txt \
    && packages=$(echo /opt/lungseg/lib/python3*/site-packages) \
    && rm -r "$packages/tensorflow/include" "$packages/clang/native" \
    && find "$packages/pandas" "$packages/pyarrow" "$packages/scipy" "$packages/sklearn" \
            -type d -name tests -prune -exec rm -r {} + \
    && find "$packages" -name '*.so*' -type f -size +5M -not -path '*/nvidia/*' -not -path '*.libs/*' \
            -exec strip --strip-unneeded {} +

FROM dependencies AS code
WORKDIR /src
COPY pyproject.toml requirements.in README.md LICENSE ./
COPY schema schema
COPY modules modules
COPY components components
COPY pipeline pipeline
RUN uv pip install --prefix /opt/code --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
# Libraries write to their user's home; on a read-only file system only /tmp is sure to be writable.
# Folders in the working directory must not hide the packages of the same name.
ENV PATH=/opt/lungseg/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    NO_ALBUMENTATIONS_UPDATE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
# Kubernetes gives volumes to the group 0, and so do platforms that choose the user's number themselves.
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lungseg \
    && install --directory --owner=1000 --group=0 --mode=0775 /work
# The libraries are one layer, our code another: a new version is a small one.
COPY --from=dependencies /opt/lungseg /opt/lungseg
COPY --from=code /opt/code /opt/lungseg

ARG VERSION=unknown
LABEL org.opencontainers.image.title="lungseg" \
      org.opencontainers.image.description="Trains, judges and releases lung segmentation models as one TFX pipeline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
WORKDIR /work
CMD ["lungseg", "--help"]
