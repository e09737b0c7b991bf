"""The embedded stack: Kafka, PostgreSQL and Airflow as background processes of a checkout.

Everything comes from package registries with pinned versions and hashes; nothing is installed system-wide.
"""
