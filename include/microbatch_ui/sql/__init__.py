"""The SQL of the pages: named queries."""
