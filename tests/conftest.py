"""Fixtures by resource: one `fix_*.py` module each."""

pytest_plugins = ["fix_stack", "fix_pipeline", "fix_child", "fix_late", "fix_proxy", "fix_airflow"]
