"""The SQL page: what can be asked, what cannot, what there is to ask, and examples that work."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from httpx import Response
from starlette.testclient import TestClient

from dag_files import PIPELINES
