"""Services of docker-compose.yaml as processes of this machine: their own commands, environments and health checks.

A container has files, a host name and an address of its own. Here a service has a folder for the first, a
`sitecustomize` for the second (HOSTNAME is what Python takes for it), and one of the addresses 127.0.0.0/8 for the
third, so that ports stay those of the file. `compose_images` says what that changes in the file's texts, and what
images do before the command. Nothing else is changed.
"""

import os
import pwd
import secrets
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import msgspec
import psutil

from compose_file import REPOSITORY, Service, read_env_file, services
from compose_images import Translation, images, repository
from local import process
from local.home import database_user, prepare

PATIENCE_S: Final = 600.0
SYSTEM: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
COPIED: Final = (".env.example", "deploy", "include")
"""What the image has of the checkout, and what secrets are drawn for."""


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """What a container of a service would have."""

    name: str
    """Also its host's."""
    service: Service
    folder: Path
    """Where its program starts."""
    arguments: list[str]
    environment: dict[str, str]
    check: list[str]
    """The health check's program with its arguments."""
    os_user: str | None
    """Whose processes they are; None: ours."""


class Native:
    """The services that start with some profiles and settings, in a folder of their own."""

    def __init__(self, home: Path, dags: Path, profiles: Collection[str], **settings: str) -> None:
        """Draw the secrets. Nothing is started yet.

        Args:
            home: the folder; it is empty.
            dags: what the image gets as its folder of DAGs.
            profiles: of compose.
            **settings: more than `.env` has, or others.
        """
        self.home = prepare(home)
        self._checkout = self.home / "checkout"
        self._checkout.mkdir()
        (self._checkout / "dags").symlink_to(dags)
        for name in COPIED:
            (self._checkout / name).symlink_to(REPOSITORY / name)
        subprocess.run(["/bin/sh", self._checkout / "deploy/compose/make-env.sh"], check=True, capture_output=True)
        self.variables = read_env_file(self._checkout / ".env") | settings
        self.services = services(self.variables, profiles)
        network = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
        self.addresses = {name: f"{network}.{host}" for host, name in enumerate(self.services, start=2)}
        self._published = {
            ":".join(port.split(":")[:2]): f"{self.addresses[name]}:{port.split(':')[2]}"
            for name, service in self.services.items()
            for port in service.ports
        }

    def at_hand(self) -> set[str]:
        """The services whose program is on this machine."""
        return {name for name, service in self.services.items() if repository(service) in images("")}

    def box(self, name: str, replica: str = "", **variables: str) -> Box:
        """What a container of a service would have; or one of several of its containers, with more variables."""
        service, host, address = self.services[name], replica or name, self.addresses[name]
        image, root = images(address)[repository(service)], self.home / "root" / host
        texts = Translation(root, _folders(service), address, self.addresses, self._published)
        self._make_files(service, image.files, texts)
        user = database_user() if image.is_postgres else None
        if user is not None:
            self._give(root, user)
        own = {"PATH": f"{root}/bin:{image.programs}:{SYSTEM}", "ADDRESS": address}
        of_system = {"HOME": "/home", "TMPDIR": "/home", "LANG": "C.UTF-8", "HOSTNAME": host}
        given = {**of_system, **image.environment, **service.environment}
        entrypoint = service.entrypoint or ["bash", "-euc", image.entrypoint, "entrypoint"]
        check = service.healthcheck or []
        return Box(
            name=host,
            service=service,
            folder=root / image.folder.lstrip("/"),
            arguments=[*map(texts.of_text, [*entrypoint, *(service.command or [])])],
            environment=own | {key: texts.of_text(value) for key, value in given.items()} | variables,
            check=[*map(texts.of_check, ["sh", "-c", check] if isinstance(check, str) else check)],
            os_user=user.pw_name if user else None,
        )

    def up(self, boxes: Sequence[Box]) -> None:
        """Start boxes, each as soon as those that it waits for are as they have to be, until all are."""
        there = {box.service.name for box in boxes}
        waits = {box.service.name: there & set(box.service.depends_on) for box in boxes}
        done: dict[str, list[Future[None]]] = {}
        with ThreadPoolExecutor(len(boxes)) as pool:
            for name in TopologicalSorter(waits).static_order():
                before = [future for other in waits[name] for future in done[other]]
                done[name] = [pool.submit(self._bring_up, box, before) for box in boxes if box.service.name == name]
        for future in [future for futures in done.values() for future in futures]:
            future.result()

    def start(self, box: Box) -> process.Record:
        """Start it. Returns before it works."""
        launch = process.Launch(
            component=box.name,
            arguments=box.arguments,
            folder=box.folder,
            environment=box.environment,
            log=self.log(box.name),
            os_user=box.os_user,
            stop_deadline_s=8.0,
        )
        return process.start(self.home, launch)

    def log(self, name: str) -> Path:
        """What a box prints."""
        return self.home / "log" / f"{name}.log"

    def unhealthy(self, box: Box) -> str | None:
        """What its health check says; None if it is healthy."""
        try:
            done = subprocess.run(
                box.check, cwd=box.folder, env=box.environment, capture_output=True, text=True, timeout=120, check=False
            )
        except subprocess.TimeoutExpired as error:  # on a busy machine; the next look may be quicker
            return str(error)
        return None if done.returncode == 0 else (done.stdout + done.stderr)[-1000:] or f"status {done.returncode}"

    def kill(self, name: str) -> None:
        """SIGKILL all processes of a box, as when its machine is lost."""
        process.kill(self.members(name), name)

    def members(self, name: str) -> list[psutil.Process]:
        """The processes of a box."""
        record = process.load(self.home, name)
        assert record is not None
        return process.members(record)

    def running(self) -> list[str]:
        """The boxes that were started and not stopped, the newest first."""
        records = (self.home / "run").glob("*.json")
        return [file.stem for file in sorted(records, key=lambda file: file.stat().st_mtime_ns, reverse=True)]

    def down(self) -> None:
        """Kill Airflow, whose tasks would be waited for, and stop the rest, the newest first."""
        for name in self.running():
            if name.startswith("airflow-"):
                self.kill(name)
            process.stop(self.home, name)

    def _bring_up(self, box: Box, before: Sequence[Future[None]]) -> None:
        for future in before:
            future.result()
        if not box.check:
            self._run(box)
        else:
            process.wait_until_ready(self.start(box), lambda: self._look(box), PATIENCE_S)

    def _look(self, box: Box) -> str | None:
        """What its health check says, asked as often as the file says."""
        reason = self.unhealthy(box)
        if reason is not None:
            time.sleep(int(box.service.fields["healthcheck"]["start_interval"].removesuffix("s")))
        return reason

    def _run(self, box: Box) -> None:
        with self.log(box.name).open("wb") as log:
            done = subprocess.run(
                box.arguments,
                cwd=box.folder,
                env=box.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
                check=False,
            )
        assert done.returncode == 0, f"{box.name} ended with {done.returncode}:\n{process.tail(self.log(box.name))}"

    def _make_files(self, service: Service, files: Mapping[str, str], texts: Translation) -> None:
        """The image's files and what is mounted, as far as programs look for them."""
        for folder in ("home", "opt/airflow"):
            (texts.root / folder).mkdir(parents=True)
        for name, text in files.items():
            _write(texts.root / name, text)
        (texts.root / "opt/microbatch").symlink_to(self._checkout)
        for volume in service.volumes:
            source, target = volume.split(":")[:2]
            there = texts.root / target.lstrip("/")
            if not source.startswith("."):
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(self._volume(source))
                continue
            mounted = REPOSITORY / source
            for file in [mounted] if mounted.is_file() else mounted.iterdir():
                _write(there / file.relative_to(mounted), texts.of_text(file.read_text(encoding="utf-8")))

    def _volume(self, name: str) -> Path:
        folder = self.home / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _give(self, root: Path, user: pwd.struct_passwd) -> None:
        """Let an account own a container's files and volumes, and nothing of the checkout."""
        for path in (root, *root.rglob("*")):
            if path.resolve().is_relative_to(self.home):
                os.chown(path, user.pw_uid, user.pw_gid)


def _folders(service: Service) -> frozenset[str]:
    mounted = {volume.split(":")[1].split("/")[1] for volume in service.volumes}
    return frozenset({"etc", "home", "mnt", "opt", "python", "var"} | mounted)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
