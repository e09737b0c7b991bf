"""Fixtures by resource: one `fix_*.py` module each."""

from hypothesis import settings

pytest_plugins = ["fix_stack", "fix_pipeline", "fix_child", "fix_late", "fix_proxy", "fix_airflow"]

# A slow machine is no failure.
settings.register_profile("microbatch", deadline=None)
settings.load_profile("microbatch")
