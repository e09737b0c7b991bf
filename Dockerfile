# Airflow with microbatch and its pipelines. Kafka and PostgreSQL are the images that docker-compose.yaml names.
FROM apache/airflow:3.3.2-python3.11

COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

WORKDIR /opt/microbatch
COPY --chown=airflow:root pyproject.toml README.md LICENSE ./
COPY --chown=airflow:root include include
RUN pip install --no-cache-dir --no-deps --editable .
COPY --chown=airflow:root dags dags
COPY --chown=airflow:root plugins plugins

# Imported when a process of Airflow starts: tasks inherit what the scheduler has imported.
ENV PYTHONPATH=/opt/microbatch/include/local/airflow_settings

# The volumes mounted here take over their owner.
RUN mkdir -p /opt/airflow/login /opt/airflow/logs /opt/airflow/reports
WORKDIR /opt/airflow
