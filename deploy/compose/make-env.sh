#!/bin/sh
# Writes .env for docker-compose.yaml: .env.example with a secret drawn for each one that is empty there. Needs only what
# a small system has too: od, dd, tr and base64.
set -eu
cd "$(dirname "$0")/../.."
umask 077

if [ -e .env ]; then
	echo ".env is there already, and its secrets may be in use. To draw all of them anew, delete it first." >&2
	exit 1
fi
trap 'rm -f .env.new' EXIT

# So many random bytes, in letters and digits.
hexadecimal() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# So many random bytes, in Base64 for URLs.
base64_url() { dd if=/dev/urandom bs="$1" count=1 2>/dev/null | base64 | tr '+/' '-_' | tr -d '\n'; }

while IFS= read -r line; do
	secret=
	case $line in
	AIRFLOW_FERNET_KEY=) secret=$(base64_url 32) ;;
	KAFKA_CLUSTER_ID=)
		secret=$(base64_url 16)
		# No padding, and no dash in front, which would begin an option.
		secret=A${secret#?}
		secret=${secret%==}
		;;
	WEATHER_API_KEY=) secret=mock-$(hexadecimal 24) ;;
	*_PASSWORD= | *_SECRET=) secret=$(hexadecimal 24) ;;
	*)
		printf '%s\n' "$line"
		continue
		;;
	esac
	if [ "${#secret}" -lt 22 ]; then
		echo "${line%=}: no secret could be drawn from /dev/urandom" >&2
		exit 1
	fi
	printf '%s%s\n' "$line" "$secret"
done <.env.example >.env.new
mv .env.new .env

echo "Wrote .env, which only you may read. The login of Airflow, Grafana and Kafka UI is admin; the passwords are"
echo "AIRFLOW_ADMIN_PASSWORD, GRAFANA_ADMIN_PASSWORD and KAFKA_UI_PASSWORD in it. Now: docker compose up --build --wait"
