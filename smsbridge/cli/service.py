"""``install-service``: the daemon as systemd services."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from smsbridge.cli import output
from smsbridge.install import Installer, InstallError, Run, Write

__all__ = ["install_service"]


@click.command("install-service")
@click.option("--list", "listing", is_flag=True, help="List the installed services.")
@click.option("--uninstall", is_flag=True, help="Remove the service; messages stay.")
@click.option("--now", is_flag=True, help="Start it at once, too.")
@click.option("--replace", is_flag=True, help="Overwrite a unit file that was changed by hand.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default="/",
    metavar="DIR",
    help="Write below this folder and run nothing; for packages.",
)
@click.argument("name", default="", required=False)
def install_service(
    name: str,
    listing: bool,
    uninstall: bool,
    now: bool,
    replace: bool,
    dry_run: bool,
    root: Path,
) -> None:
    """
    Install the daemon as a systemd service.

    Without a NAME the service is 'smsbridge', with /etc/smsbridge/smsbridge.ini. With a NAME it is
    'smsbridge@NAME', with /etc/smsbridge/NAME.ini and its own messages; there may be many. A
    configuration that is there already is left as it is.

    \b
    Examples:
      sudo smsbridge install-service
      sudo smsbridge install-service office
      smsbridge install-service office --dry-run
      smsbridge install-service --list
      sudo smsbridge install-service office --uninstall
    """
    installer = Installer(root, Path(sys.executable).parent / "twistd", _run)
    if listing:
        _list(installer)
        return
    try:
        if uninstall:
            steps = installer.uninstall(name, replace=replace)
        else:
            steps = installer.install(name, start=now, replace=replace)
        if dry_run:
            for step in steps:
                click.echo(str(step) if isinstance(step, Run) else f"{step}")
                if isinstance(step, Write):
                    for line in step.text.splitlines():
                        click.echo(f"    {line}".rstrip())
            return
        installer.carry_out(steps, lambda said: click.echo(said, err=True))
    except InstallError as e:
        raise click.ClickException(str(e)) from e
    found = next((each for each in installer.instances() if each.name == name), None)
    if uninstall:
        click.echo("Removed. The configuration and the messages are still there.")
    elif found is not None and not now:
        click.echo(f"Installed. Edit {found.config}, then: systemctl start {found.service}")
    else:
        click.echo("Installed and started.")


def _list(installer: Installer) -> None:
    rows = [
        (
            each.service,
            "enabled" if each.enabled else "disabled",
            installer.state_of(each),
            str(each.config) + ("" if each.configured else " (missing)"),
        )
        for each in installer.instances()
    ]
    output.print_table(
        rows, ("SERVICE", "START", "STATE", "CONFIGURATION"), empty="No service is installed."
    )


def _run(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout
