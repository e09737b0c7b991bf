-- name: create_role
create role {role} login

-- name: set_password
-- A verifier, not the password: statements that fail are logged.
alter role {role} password {verifier}

-- name: create_database
create database {database} owner {role}

-- name: close_database
-- By default everybody may connect to every database and make temporary tables there.
revoke all on database {database} from public

-- name: close_the_rest
-- Nobody but the superuser has anything to do there.
revoke all on database postgres from public;
revoke all on database template1 from public;

-- name: limit_roles
-- The first schema that a role looks into is that of its own name, here the ledger.
alter role microbatch set search_path = public;
grant connect on database warehouse to reader;
alter role reader set default_transaction_read_only = on;

-- name: show_reader
-- In the warehouse. Whatever schema or table `microbatch` makes, `reader` may read.
revoke all on schema public from public;
grant usage on schema public to reader;
alter default privileges for role microbatch grant usage on schemas to reader;
alter default privileges for role microbatch grant select on tables to reader;
alter default privileges for role microbatch grant select on sequences to reader;
