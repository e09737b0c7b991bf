"""The pages of microbatch inside Airflow's own UI: a plugin for Airflow's api-server that only reads the ledger."""
