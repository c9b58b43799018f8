# Two images on shared layers:
#
#   runner    what the Jobs run, and the command line: Python, psycopg with libpq, and our own code. It needs no shell.
#   operator  the same with kopf and the Kubernetes client on top. It can run Jobs, too.
#
#   docker build --target runner -t fluxbase/fluxbase-migrations-runner .
#   docker build -t fluxbase/fluxbase-migrations .
#
# BASE_IMAGE needs python3 >= 3.11 and CA certificates, the operator's tar as well (for `kubectl cp`). BUILD_IMAGE,
# in which everything is put together, needs a shell, venv, and the same Python at the same place: for a BASE_IMAGE
# without a shell, its sibling that has one.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements-build.lock ./
COPY deploy/image deploy/image
# Behind a proxy with its own certificate authority: build with `--secret id=ca,src=FILE`. Without it nothing changes.
# An interpreter that is too old is named; pip would speak of packages that it cannot find.
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("BASE_IMAGE has Python " + sys.version.split()[0] + "; python3 >= 3.11 is needed")' \
    && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /build \
    && /build/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements-build.lock

FROM tools AS runner-dependencies
COPY requirements-runner.lock ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python3 deploy/image/layer.py list /before \
    && python3 -m venv --without-pip /opt/fluxbase \
    && /build/bin/pip --python /opt/fluxbase/bin/python3 install --quiet --no-compile \
        --require-hashes --only-binary :all: -r requirements-runner.lock \
    && /opt/fluxbase/bin/python3 deploy/image/layer.py make /before /layer \
        psycopg psycopg.pq postgast yaml dotenv.parser

FROM runner-dependencies AS operator-dependencies
COPY requirements.lock ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && rm -r /layer \
    && /opt/fluxbase/bin/python3 deploy/image/layer.py list /before \
    && /build/bin/pip --python /opt/fluxbase/bin/python3 install --quiet --no-compile \
        --require-hashes --only-binary :all: -r requirements.lock \
    && /opt/fluxbase/bin/python3 deploy/image/layer.py make /before /layer \
        kopf kubernetes.aio.client kubernetes.aio.config prometheus_client pydantic yaml \
        kubernetes.config kubernetes.client.api.custom_objects_api kubernetes.client.api.core_v1_api \
        kubernetes.client.api.batch_v1_api kubernetes.client.api.apps_v1_api kubernetes.client.api.apiextensions_v1_api

# Apart from its dependencies, so that a change of ours is a small layer on top of theirs, and the same in both.
FROM runner-dependencies AS package
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator operator
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
    && rm -r /layer \
    && /opt/fluxbase/bin/python3 deploy/image/layer.py list /before \
    && /build/bin/pip --python /opt/fluxbase/bin/python3 install --quiet --no-compile --no-deps --no-index \
        /wheel/*.whl \
    && /opt/fluxbase/bin/python3 deploy/image/layer.py make /before /layer \
        fluxbase_migrations.runner.commands.job fluxbase_migrations.runner.commands.verbs fluxbase_migrations.cli.migrate

# What the operator or the plugin would not find in a cluster is not found here, and then there is no image.
FROM operator-dependencies AS checked
RUN rm -r /layer
COPY --from=package /layer /layer
COPY --from=package /layer /
RUN /opt/fluxbase/bin/python3 -c "import fluxbase_migrations.controller.__main__" \
    && /opt/fluxbase/bin/python3 -c "from kubernetes import client; from fluxbase_migrations.cli.kubectl import cluster; [getattr(client, name) for name in cluster.APIS]" \
    && /opt/fluxbase/bin/kubectl-fluxbase version --client

FROM ${BASE_IMAGE} AS environment
LABEL org.opencontainers.image.licenses="Apache-2.0"
# USER, because a numeric user has no entry in /etc/passwd to look a name up in.
ENV PATH=/opt/fluxbase/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    USER=fluxbase HOME=/tmp
WORKDIR /
CMD ["fluxbase-migrate", "run"]
COPY --from=runner-dependencies /layer /

FROM environment AS runner
LABEL org.opencontainers.image.title="fluxbase-migrations-runner" \
      org.opencontainers.image.description="PostgreSQL migrations on Kubernetes: runner and CLI"
COPY --from=package /layer /
# Numeric, so that `runAsNonRoot` can be checked without a look at /etc/passwd.
USER 10001:10001

FROM environment AS operator
LABEL org.opencontainers.image.title="fluxbase-migrations" \
      org.opencontainers.image.description="PostgreSQL migrations on Kubernetes: operator, runner and CLI"
COPY --from=operator-dependencies /layer /
COPY --from=checked /layer /
USER 10001:10001
