"""`python -m local.airflow_command …`: Airflow's command line on the embedded stack, with its database."""

import os
import sys

from local import stack
from local.errors import StackError
from local.home import state_folder


def main() -> None:
    """Become `airflow …`, with the environment of the stack's own processes."""
    try:
        running = stack.find(state_folder())
    except StackError as error:
        sys.exit(str(error))
    os.chdir(running.home / "airflow")
    os.execve(sys.executable, [sys.executable, "-m", "airflow", *sys.argv[1:]], running.environment)  # noqa: S606


if __name__ == "__main__":
    main()
