#!/usr/bin/env bash
# The init service runs this before Airflow's services start: database, logins, pool, topics and ledger.
set -euo pipefail

umask 077
printf '{"admin": "%s", "prometheus": "%s"}\n' "$AIRFLOW_ADMIN_PASSWORD" "$PROMETHEUS_PASSWORD" \
	>"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
airflow db migrate
airflow pools set producers 5 "Demo event generators: they never take the slots of pipelines"
python -m local.declare "$AIRFLOW__CORE__DAGS_FOLDER"
