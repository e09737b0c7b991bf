# Airflow with microbatch and its pipelines, for docker-compose.yaml and for Kubernetes. All other images are as they come.
FROM apache/airflow:slim-3.3.2-python3.11 AS build

# What root installs, the processes of the last stage can read and not change.
# hadolint ignore=DL3002
USER 0
WORKDIR /opt/microbatch
# The base image has pip install below the account's home.
ENV PIP_USER=false PIP_NO_CACHE_DIR=true
RUN python -m venv .venv

# Just what the lock files name, by its hash; the build backend too.
COPY requirements.txt requirements-build.txt ./
RUN .venv/bin/python -m pip install --no-deps --require-hashes -r requirements.txt -r requirements-build.txt

COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN .venv/bin/python -m pip install --no-build-isolation --no-deps --editable . && .venv/bin/python -m pip check

COPY dags dags
COPY deploy/compose/prepare-airflow.sh deploy/compose/
COPY deploy/compose/prometheus/login.sh deploy/compose/prometheus/
RUN .venv/bin/python -m compileall -q include dags


# Its own Airflow lies unused below the one of the lock file: what is taken from it is Python, the entrypoint, which
# docker-compose.yaml and Airflow's Helm chart rely on, and the account `airflow` (50000, group 0).
FROM apache/airflow:slim-3.3.2-python3.11

LABEL org.opencontainers.image.title="microbatch" \
      org.opencontainers.image.description="Airflow with microbatch: windowed aggregates from Kafka to Postgres, exactly once" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/microbatch /opt/microbatch

# airflow_settings is imported when a process of Airflow starts: tasks inherit what the scheduler has imported.
ENV PATH=/opt/microbatch/.venv/bin:${PATH} \
    PYTHONPATH=/opt/microbatch/include/local/airflow_settings

# The volumes that are mounted here take over owner and rights; the group may write, whatever the account's number.
RUN install -d -m 0775 /opt/airflow/login /opt/airflow/logs /opt/airflow/prometheus /opt/airflow/reports

USER 50000:0
WORKDIR /opt/airflow
