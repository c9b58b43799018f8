# The one image: the operator, the runner of its Jobs, and the command line.
#
# BASE_IMAGE needs python3 >= 3.11 with venv, CA certificates and tar (for `kubectl cp`); both stages use it,
# so that the virtual environment's interpreter is the same file in both.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Behind a proxy with its own certificate authority: build with `--secret id=ca,src=FILE`. Without it nothing changes.
# An interpreter that is too old is named; pip would speak of packages that it cannot find.
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("BASE_IMAGE has Python " + sys.version.split()[0] + "; python3 >= 3.11 is needed")' \
    && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /build \
    && python3 -m venv --without-pip /opt/fluxbase \
    && /build/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements-build.lock \
    && /build/bin/pip --python /opt/fluxbase/bin/python3 install --quiet --require-hashes --only-binary :all: \
        -r requirements.lock

# Apart from its dependencies, so that a change of ours is a small layer on top of theirs.
FROM dependencies AS application
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator operator
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/pip --python /opt/fluxbase/bin/python3 install --quiet --no-deps --no-index \
        --prefix /opt/application /wheel/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="fluxbase-migrations" \
      org.opencontainers.image.description="PostgreSQL migrations on Kubernetes: operator, runner and CLI" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=dependencies /opt/fluxbase /opt/fluxbase
COPY --from=application /opt/application /opt/fluxbase
# USER, because a numeric user has no entry in /etc/passwd to look a name up in.
ENV PATH=/opt/fluxbase/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    USER=fluxbase HOME=/tmp
# Numeric, so that `runAsNonRoot` can be checked without a look at /etc/passwd.
USER 10001:10001
WORKDIR /
CMD ["fluxbase-migrate", "run"]
