#!/bin/sh
# Draws every password and key, and prints the Secrets that have them. Once, before anything else:
#   deploy/kubernetes/make-secrets.sh | kubectl --namespace microbatch create -f -
# `create` refuses what exists already, so a second run changes nothing. Nothing is written to a file.
set -eu

# So many random bytes, in hexadecimal digits, which stand in URLs as they are.
hexadecimal() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# 32 random bytes, as Airflow's encryption wants its key.
fernet_key() { dd if=/dev/urandom bs=32 count=1 2>/dev/null | base64 | tr '+/' '-_' | tr -d '\n'; }

airflow_db=$(hexadecimal 24)
microbatch_db=$(hexadecimal 24)
reader_db=$(hexadecimal 24)
kafka=$(hexadecimal 24)
redis=$(hexadecimal 24)
weather=$(hexadecimal 24)
admin=$(hexadecimal 24)
prometheus=$(hexadecimal 24)
api_secret=$(hexadecimal 32)
jwt_secret=$(hexadecimal 32)
fernet=$(fernet_key)
for drawn in "$airflow_db" "$microbatch_db" "$reader_db" "$kafka" "$redis" "$weather" "$admin" "$prometheus" \
	"$api_secret" "$jwt_secret" "$fernet"; do
	if [ "${#drawn}" -lt 44 ]; then
		echo "no secret could be drawn from /dev/urandom; nothing was made" >&2
		exit 1
	fi
done

# A role of PostgreSQL: name, password. The label has CloudNativePG follow a change.
login() {
	cat <<YAML
---
apiVersion: v1
kind: Secret
type: kubernetes.io/basic-auth
metadata:
  name: postgres-$1
  labels:
    cnpg.io/reload: "true"
stringData:
  username: $1
  password: "$2"
YAML
}

# A Secret: name. Its entries, indented, come by the standard input.
secret() {
	cat <<YAML
---
apiVersion: v1
kind: Secret
metadata:
  name: $1
stringData:
YAML
	cat
}

# Airflow's connection for a role: name, password.
postgres() {
	printf '{"conn_type": "postgres", "host": "postgres-rw", "port": 5432, "login": "%s", "password": "%s", "schema": "warehouse"}' "$1" "$2"
}

kafka_settings=$(printf '"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "microbatch", "sasl.password": "%s", "ssl.ca.location": "/etc/microbatch/kafka/ca.crt"' "$kafka")
bootstrap=kafka-kafka-bootstrap:9093

login microbatch "$microbatch_db"
login reader "$reader_db"
login airflow "$airflow_db"
secret kafka-microbatch <<YAML
  password: "$kafka"
YAML
secret weather-api <<YAML
  key: "$weather"
YAML
secret airflow-keys <<YAML
  fernet-key: "$fernet"
  api-secret-key: "$api_secret"
  jwt-secret: "$jwt_secret"
YAML
secret airflow-database <<YAML
  connection: postgresql+psycopg://airflow:$airflow_db@postgres-rw:5432/airflow
  connection-async: postgresql+asyncpg://airflow:$airflow_db@postgres-rw:5432/airflow
YAML
secret airflow-results <<YAML
  connection: db+postgresql+psycopg://airflow:$airflow_db@postgres-rw:5432/airflow
YAML
secret airflow-broker <<YAML
  connection: redis://:$redis@airflow-redis:6379/0
YAML
secret airflow-redis-login <<YAML
  password: "$redis"
YAML
secret airflow-login <<YAML
  passwords.json: '{"admin": "$admin", "prometheus": "$prometheus"}'
YAML
# Airflow's connections, and what the command line reads in their place.
secret microbatch-connections <<YAML
  AIRFLOW_CONN_KAFKA_DEFAULT: '{"conn_type": "kafka", "extra": {"bootstrap.servers": "$bootstrap", $kafka_settings}}'
  AIRFLOW_CONN_POSTGRES_DEFAULT: '$(postgres microbatch "$microbatch_db")'
  AIRFLOW_CONN_POSTGRES_READER: '$(postgres reader "$reader_db")'
  KAFKA_BOOTSTRAP_SERVERS: $bootstrap
  KAFKA_SETTINGS: '{$kafka_settings}'
  POSTGRES_OWNER_DSN: postgresql://microbatch:$microbatch_db@postgres-rw:5432/warehouse
  POSTGRES_DSN: postgresql://reader:$reader_db@postgres-rw:5432/warehouse
  OPENWEATHERMAP_API_KEY: "$weather"
YAML
