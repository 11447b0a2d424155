"""Real servers on this machine alone: PostgreSQL, MLflow and Prefect on it. Each worker of xdist has its own.

PostgreSQL listens on a Unix socket and nowhere else, so no port can be taken by another worker.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.schedule import server
from hsipipe.locks import wait_for
from tasks.running.process import end_group

PATIENCE_S = 120.0
ACCOUNT = "postgres"
"""User under which PostgreSQL runs where the tests run as root, which it refuses."""
ROLE = "hsipipe"


@dataclass(frozen=True)
class Postgres:
    """A running cluster.

    Attributes:
        folder: Where its socket is.
        binaries: Where psql, pg_dump and the others are.
        password: That of the role that owns everything.
    """

    folder: Path
    binaries: Path
    password: str

    def uri(self, database, *, driver="postgresql"):
        """Address of a database, with user and password as in production."""
        return f"{driver}://{ROLE}:{self.password}@/{database}?host={self.folder}"

    def new_database(self, *, driver="postgresql"):
        """Make an empty database; its address."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.call("psql", "--quiet", "--command", f"CREATE DATABASE {name}", self.uri("postgres"))
        return self.uri(name, driver=driver)

    def call(self, program, *arguments, **kwargs):
        """Run one of PostgreSQL's programs to its end; its output."""
        done = subprocess.run(
            [self.binaries / program, *map(str, arguments)], capture_output=True, check=False, timeout=60, **kwargs
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL cluster of the tests' own."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb on the path or in /usr/lib/postgresql)")
    pytest.importorskip("psycopg2", reason="the extra server is not installed")
    as_root = os.geteuid() == 0
    if as_root and not _has_account():
        pytest.skip(f"PostgreSQL refuses to run as root, and there is no user {ACCOUNT}")
    # Not below pytest's folder: that is closed to the user of PostgreSQL, and too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder, password = Path(name), secrets.token_hex(8)
        secret = folder / "password"
        secret.write_text(password, encoding="utf-8")
        prefix = []
        if as_root:
            for path in (folder, secret):
                shutil.chown(path, ACCOUNT, ACCOUNT)
            # The signal ends the cluster with the tests, however these end.
            prefix = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups", "--pdeathsig=INT"]
        data, settings = folder / "data", f"--pgdata={folder / 'data'}"
        who = [f"--username={ROLE}", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--no-locale"]
        made = subprocess.run(
            [*prefix, binaries / "initdb", settings, "--encoding=UTF8", *who],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        options = ["-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen([*prefix, binaries / "postgres", *options], cwd=folder, stderr=log)
        try:
            _wait(lambda: _is_ready(binaries, folder), child, folder / "log")
            yield Postgres(folder, binaries, password)
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(timeout=PATIENCE_S)


@contextmanager
def mlflow_on(store, artifacts, *, folder, env=None, options=()):
    """``mlflow server`` on a free port while the body runs.

    Args:
        store: Address of the database.
        artifacts: Folder or ``s3://`` address to which the server passes what clients send.
        folder: Where it runs and logs.
        env: Variables on top of this process's own.
        options: More of its command line.

    Yields:
        Its address, for MLFLOW_TRACKING_URI.
    """
    # By the environment, not the command line, which every user of the machine can read.
    variables = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_ARTIFACTS_DESTINATION": str(artifacts),
        # Its workers judge language models, which nothing here has.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **(env or {}),
    }
    command = ("mlflow", "server", "--workers", "1", *options)
    with _listening(*command, path="/health", cwd=folder, env=variables) as address:
        yield address


@contextmanager
def s3_on(folder, *buckets, keys):
    """A server that speaks S3 (moto's) with empty buckets while the body runs.

    Args:
        folder: Where it runs and logs.
        buckets: Their names.
        keys: The variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION.

    Yields:
        Its address, for ``endpointurl`` and MLFLOW_S3_ENDPOINT_URL.
    """
    boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto is not installed")
    with _listening("moto.server", path="/moto-api/data.json", cwd=folder, env={}) as address:
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name=keys["AWS_DEFAULT_REGION"],
        )
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        client.close()
        yield address


@contextmanager
def _listening(module, *arguments, path, cwd, env):
    """``python -m module`` on a free port, once `path` is answered; its address."""
    log = cwd / f"{module}.log"
    with ExitStack() as stack:
        # Two workers that look for a free port at once find the same one, and one server would serve both.
        with wait_for(Path(tempfile.gettempdir()) / "hsipipe-tests-port.lock"):
            port = free_port()
            with log.open("wb") as said:
                place = ["--host", "127.0.0.1", "--port", str(port)]
                child = subprocess.Popen(
                    [sys.executable, "-m", "tasks.running.process", module, *arguments, *place],
                    cwd=cwd,
                    env={**os.environ, **env},
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            stack.callback(end_group, child)
            _wait(lambda: _answers(f"http://127.0.0.1:{port}{path}"), child, log)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, request):
    """Address of an MLflow server, on PostgreSQL where that is installed, else on SQLite; all tests share it."""
    folder = tmp_path_factory.mktemp("mlflow")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    if _postgres_binaries() is not None:
        store = request.getfixturevalue("postgres").new_database()
    with mlflow_on(store, folder / "artifacts", folder=folder) as address:
        yield address


@pytest.fixture(scope="session")
def prefect_on_postgres(postgres, tmp_path_factory):
    """The API of a Prefect server whose database is PostgreSQL, for PREFECT_API_URL."""
    folder = tmp_path_factory.mktemp("prefect-postgres")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PREFECT_HOME", str(folder / "home"))
        patch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", postgres.new_database(driver="postgresql+asyncpg"))
        with wait_for(Path(tempfile.gettempdir()) / "hsipipe-tests-prefect.lock"):
            api = stack.enter_context(server(folder))
        yield api


def free_port():
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _postgres_binaries():
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return installed[-1].parent if installed else None


def _has_account():
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return False
    return shutil.which("setpriv") is not None


def _is_ready(binaries, folder):
    return subprocess.run([binaries / "pg_isready", "-q", "-h", folder], check=False).returncode == 0


def _answers(address):
    import httpx

    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _wait(condition, child, log):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        said = log.read_text(encoding="utf-8") if log.exists() else ""
        assert child.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
