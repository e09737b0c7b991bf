"""Where the stack keeps its state: one folder, for its owner only."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from dotenv import load_dotenv

from local.errors import PlatformError

REPOSITORY = Path(__file__).resolve().parents[2]
DATABASE_USER = "embedded_postgres"


def read_settings() -> None:
    """Take the settings of the checkout's `.env`, if it has one; what the environment says counts more."""
    load_dotenv(REPOSITORY / ".env")


def state_folder() -> Path:
    """The state folder: `MICROBATCH_HOME`, or `.microbatch` in the checkout. It need not exist."""
    moved = os.environ.get("MICROBATCH_HOME")
    return Path(moved).expanduser().resolve() if moved else REPOSITORY / ".microbatch"


def prepare(home: Path) -> Path:
    """Make the state folder and its parts, for their owner only, and return it.

    PostgreSQL refuses to run as root. For root it runs under an account of its own (`embedded_postgres`), whose
    group may pass through the state folder to the server's data, and do nothing else there.
    """
    for folder in (home, home / "log", home / "run"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    user = database_user()
    if user is not None:
        os.chown(home, 0, user.pw_gid)
        home.chmod(0o710)
        _let_pass(home)
    return home


def database_user() -> pwd.struct_passwd | None:
    """The account PostgreSQL runs under, made if need be: None unless we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(DATABASE_USER)
    except KeyError:
        return _add_user()


def _add_user() -> pwd.struct_passwd:
    remedy = f"add a user {DATABASE_USER}, or run as another user than root"
    useradd = shutil.which("useradd")
    if useradd is None:
        raise PlatformError(what="PostgreSQL does not run as root, and there is no useradd", remedy=remedy)
    done = subprocess.run([useradd, "--system", DATABASE_USER], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 9):  # 9: another process was quicker
        raise PlatformError(what=f"useradd failed: {done.stderr.strip()}", remedy=remedy)
    return pwd.getpwnam(DATABASE_USER)


def _let_pass(home: Path) -> None:
    """Let that user pass through (not list) the folders above the state folder and the server's binaries."""
    for parent in (*home.parents, *REPOSITORY.parents, REPOSITORY):
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)
