# The demo in a container: docker build -t nnunet-vmunet . && docker run --rm --ipc=host nnunet-vmunet
# Not yet built anywhere: its lines were checked by hadolint and by tests/test_repository.py alone.
# For an NVIDIA GPU: docker build --build-arg TORCH_INDEX=https://pypi.org/simple, then docker run --gpus all
FROM python:3.12-slim

# gcc is what Triton compiles with; libgomp1 holds the threads of the scan on a CPU.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libgomp1 \
    && rm -rf /var/lib/apt/lists/*

# torch first, in a layer of its own: it is large and changes seldom. The CPU build, unless told otherwise.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.4,!=2.9.*"

WORKDIR /src
COPY pyproject.toml README.md LICENSE MANIFEST.in ./
COPY nnunet_vmunet nnunet_vmunet
# register writes into nnU-Net's folder, which belongs to root, so it runs before the user changes.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[cpu]" && nnunet-vmunet register

RUN useradd --create-home --uid 1000 vmunet
USER 1000
WORKDIR /home/vmunet
CMD ["nnunet-vmunet", "demo", "--overwrite"]
