# Builds two images: `operator`, and `init` (the init container, which also contains the ranks' tools).
ARG BASE=python:3.12-slim

# Installs the dependencies of each image, at the versions and hashes of the lock file.
FROM ${BASE} AS dependencies
COPY operator/requirements.lock /locks/operator.lock
COPY initcontainer/requirements.lock /locks/init.lock
RUN for image in operator init; do \
        python3 -m venv /venvs/$image \
        && pip="/venvs/$image/bin/pip --quiet --disable-pip-version-check --no-cache-dir" \
        && $pip install --only-binary :all: --require-hashes --requirement /locks/$image.lock \
        && $pip uninstall --yes pip setuptools || exit 1; \
    done

FROM ${BASE} AS common
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/tunecast/app PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
COPY core/tunecast_core /opt/tunecast/app/tunecast_core
WORKDIR /

FROM common AS init
COPY --from=dependencies /venvs/init /opt/venv
COPY initcontainer/tunecast_init /opt/tunecast/app/tunecast_init
COPY tuner/__main__.py /opt/tunecast/tools/__main__.py
COPY tuner/tunecast_tuner /opt/tunecast/tools/tunecast_tuner
COPY core/tunecast_core /opt/tunecast/tools/tunecast_core
RUN python3 -m compileall -q /opt/tunecast/app
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-m", "tunecast_init"]
CMD ["fetch"]

FROM common AS operator
# Limits the heaps: by default malloc keeps one for each of the workers' threads.
ENV MALLOC_ARENA_MAX=2
COPY --from=dependencies /venvs/operator /opt/venv
COPY operator/tunecast_operator /opt/tunecast/app/tunecast_operator
RUN python3 -m compileall -q /opt/tunecast/app
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-m", "tunecast_operator"]
