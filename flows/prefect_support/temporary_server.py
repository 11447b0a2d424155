"""Tie Prefect's temporary server to the command that started it.

Prefect stops the server at exit, which a killed process never reaches: the server would keep running on the same
database.
"""

from pathlib import Path
from typing import Any

from tasks.running.process import start

_VARIABLES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_APP = "prefect.server.api.server:create_app"
_OPTIONS = ("--factory", "--host", "127.0.0.1", "--lifespan", "on", "--log-level", "error")


def end_with_us() -> None:
    """End the temporary server with this process, even after SIGKILL."""
    import prefect
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings.context import get_current_settings

    def run(self: SubprocessASGIServer) -> Any:
        # Prefect's own command, started by a process that asks the kernel for a signal at its parent's death.
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        options = ("--app-dir", str(Path(prefect.__file__).parents[1]), "--port", str(self.port), *_OPTIONS)
        env = {**settings, **_VARIABLES}
        return start("uvicorn", _APP, *options, cwd=Path.cwd(), env=env, capture=False)

    # Prefect has no setting for its server's command, so pyproject.toml pins Prefect to one minor version.
    SubprocessASGIServer._run_uvicorn_command = run  # type: ignore[method-assign]
