# The server, its workers and its MCP server are one image; the command says which: api, task-worker or mcp.
#   docker build -t agent-memory .
#   docker run --rm -p 127.0.0.1:8000:8000 -v agent-memory:/data -e ALLOW_UNAUTHENTICATED=true agent-memory
# Without a setting that asks for authentication or ALLOW_UNAUTHENTICATED=true it refuses to listen beyond the container.

# The version that the tests run with.
ARG PYTHON_VERSION=3.11
ARG DEBIAN_RELEASE=bookworm

FROM python:${PYTHON_VERSION}-slim-${DEBIAN_RELEASE} AS build
WORKDIR /source
RUN python -m venv /opt/agent-memory
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY examples ./examples
COPY agent_memory_server ./agent_memory_server
# Which model providers are built in; "litellm", "bedrock" and "local" are the others.
ARG EXTRAS=openai,anthropic
RUN /opt/agent-memory/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM python:${PYTHON_VERSION}-slim-${DEBIAN_RELEASE}
# Numeric, so that an orchestrator can see that it is not root.
RUN groupadd --system --gid 10001 agent-memory \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin agent-memory \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/agent-memory /opt/agent-memory
ENV PATH=/opt/agent-memory/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data \
    HOST=0.0.0.0 \
    MCP_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/v1/health', timeout=4)"]
ENTRYPOINT ["agent-memory"]
CMD ["api"]
