#!/usr/bin/env bash
# PostgreSQL's image runs this once, on an empty volume. The same databases and roles as roles.sql of the
# embedded stack makes; the passwords come by the environment.
set -euo pipefail

psql -v ON_ERROR_STOP=1 -U postgres <<'SQL'
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv microbatch_password MICROBATCH_DB_PASSWORD
\getenv reader_password READER_DB_PASSWORD
create role airflow login password :'airflow_password';
create role microbatch login password :'microbatch_password';
create role reader login password :'reader_password';
alter role microbatch set search_path = public;
alter role reader set default_transaction_read_only = on;
create database airflow owner airflow;
create database warehouse owner microbatch;
revoke all on database airflow from public;
revoke all on database warehouse from public;
revoke all on database postgres from public;
revoke all on database template1 from public;
grant connect on database warehouse to reader;
\connect warehouse
revoke all on schema public from public;
grant usage on schema public to reader;
alter default privileges for role microbatch grant usage on schemas to reader;
alter default privileges for role microbatch grant select on tables to reader;
alter default privileges for role microbatch grant select on sequences to reader;
SQL
