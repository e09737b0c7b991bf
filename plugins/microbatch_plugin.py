"""Airflow looks for plugins here; the pages themselves are in the package `microbatch_ui`."""

from microbatch_ui.plugin import MicrobatchPlugin

__all__ = ["MicrobatchPlugin"]
