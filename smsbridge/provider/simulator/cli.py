"""The command ``smsbridge simulate provider``: an account at a provider, in a terminal."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import click
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from smsbridge import config
from smsbridge.provider.simulator.console import COMMANDS, DoubleStage, prompt_of
from smsbridge.provider.simulator.server import ProviderDouble
from smsbridge.provider.simulator.texts import configured
from smsbridge.simulation import ScriptError, Step, perform, steps_in

__all__ = ["PROVIDERS", "Account", "account_of", "provider", "sample_account", "section"]

#: The kinds that can be played.
PROVIDERS: Final = (
    "bandwidth",
    "flowroute",
    "signalwire",
    "telnyx",
    "twilio",
    "voipms",
    "vonage",
)

_NUMBER: Final = "+12025550100"
_PORT: Final = 8090
_PUBLIC_URL: Final = "http://127.0.0.1:8080"
_LABEL: Final = "work"


@frozen(kw_only=True)
class Account:
    """What is played: the account's section, its numbers, and where it calls."""

    kind: str
    config: Any
    numbers: tuple[str, ...]
    hook: str
    port: int


def mirror_of(kind: str, section_value: Any) -> Any:
    """Build the far side of a kind; its folder is found by name, as the daemon does."""
    return importlib.import_module(f"smsbridge.gateways.{kind}.mirror").MIRROR(section_value)


def sample_values(kind: str, base_url: str) -> dict[str, str]:
    """Return the keys and values of a section that fits nobody's account."""
    sample: Mapping[str, str] = importlib.import_module(
        f"smsbridge.gateways.{kind}.mirror"
    ).MIRROR.sample
    return {"base_url": base_url, **sample}


def sample_account(kind: str, numbers: tuple[str, ...], hook: str, port: int) -> Account:
    """Make an account up, for those who have no configuration yet."""
    values = sample_values(kind, f"http://127.0.0.1:{port}")
    factory = importlib.import_module(f"smsbridge.gateways.{kind}").FACTORY
    section_value = configured(factory.config_class, values)
    return Account(
        kind=kind,
        config=section_value,
        numbers=numbers,
        hook=hook or hook_address(_PUBLIC_URL, _LABEL, section_value.http_password),
        port=port,
    )


def hook_address(public_url: str, label: str, password: str) -> str:
    """Return where a gateway is called, with the password that it wants."""
    scheme, _, rest = public_url.partition("://")
    lock = f"smsbridge:{quote(password, safe='')}@" if password else ""
    return f"{scheme}://{lock}{rest}/hook/{label}"


def account_of(path: Path, label: str, kind: str) -> Account:
    """
    Take an account from a configuration.

    :raises click.ClickException: the configuration is wrong, or has no such gateway.
    """
    try:
        found = config.load(path)
    except config.ConfigErrors as e:
        raise click.ClickException(str(e)) from None
    labels = [each for each, gateway in found.gateways.items() if gateway.kind == kind]
    if not label and len(labels) == 1:
        label = labels[0]
    if label not in labels:
        known = ", ".join(labels) or "none"
        raise click.ClickException(
            f"name one gateway of kind {kind} with --gateway; in {path} there are: {known}"
        )
    section_value = found.gateways[label].config
    if not section_value.base_url:
        raise click.ClickException(
            f"[gateway:{label}] talks to the real provider: set base_url = http://127.0.0.1:{_PORT}"
        )
    public_url = found.http.public_url if found.http is not None else ""
    if found.http is not None and not public_url:
        click.echo("There is no public_url in [http], so no webhooks can be called.", err=True)
    return Account(
        kind=kind,
        config=section_value,
        numbers=tuple(line.number for line in found.lines_of(label).values()),
        hook=hook_address(public_url, label, section_value.http_password) if public_url else "",
        port=urlsplit(section_value.base_url).port or _PORT,
    )


def section(account: Account, values: Mapping[str, str]) -> str:
    """Write what to paste into a configuration so that it fits the account."""
    parts = urlsplit(account.hook)
    public_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    label = parts.path.rpartition("/")[2] or _LABEL
    lines = [
        "[http]",
        f"listen = tcp:{parts.port or 8080}:interface=127.0.0.1",
        f"public_url = {public_url}",
        "",
        f"[gateway:{label}]",
        f"kind = {account.kind}",
        *(f"{name} = {value}" for name, value in values.items()),
    ]
    for number, each in enumerate(account.numbers, 1):
        name = f"{label}-{number}" if len(account.numbers) > 1 else f"{label}-main"
        lines += ["", f"[line:{name}]", f"gateway = {label}", f"number = {each}"]
    return "\n".join(lines)


@click.command()
@click.argument("name", type=click.Choice(PROVIDERS), metavar="NAME")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Where to listen; {_PORT} by default.")
@click.option("--number", "numbers", multiple=True, help=f"A number of the account; {_NUMBER}.")
@click.option("--hook", default="", help="Where smsbridge is called: http://HOST:PORT/hook/NAME.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take credentials, numbers and hook from this configuration.",
)
@click.option("--gateway", "label", default="", help="The gateway in it, where there are several.")
@click.option("--script", default="", help="Perform a file of commands; - is stdin.")
@click.option("--answer", is_flag=True, help="Answer every text: You said: ...")
@click.option("--stop-words", is_flag=True, help="Understand STOP and START, as some providers do.")
@click.option("--quiet", is_flag=True, help="Do not tell what happens.")
def provider(
    name: str,
    port: int | None,
    numbers: tuple[str, ...],
    hook: str,
    config_path: Path | None,
    label: str,
    script: str,
    answer: bool,
    stop_words: bool,
    quiet: bool,
) -> None:
    """
    Play a telephony provider: bandwidth, flowroute, signalwire, telnyx, twilio, voipms or vonage.

    It answers as the provider does, reports what becomes of texts, and calls webhooks, signed as
    the provider's; no text is ever really sent. Without --config it prints the sections that fit
    it. In a terminal a prompt drives it: type help there. The last two digits of a recipient's
    number decide what goes wrong: type numbers.
    """
    steps = steps_in(script, COMMANDS) if script else None
    if config_path is not None:
        account = account_of(config_path, label, name)
        account = evolve(
            account,
            numbers=numbers or account.numbers,
            hook=hook or account.hook,
            port=account.port if port is None else port,
        )
    else:
        account = sample_account(name, numbers or (_NUMBER,), hook, _PORT if port is None else port)
        click.echo("# This fits into the configuration:")
        values = sample_values(name, f"http://127.0.0.1:{account.port}")
        click.echo(section(account, values) + "\n")

    from twisted.internet import reactor
    from twisted.internet.task import react

    def main(_: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(
            serve(reactor, account, steps, answer=answer, stop_words=stop_words, quiet=quiet)
        )

    react(main)


async def serve(
    reactor: Any,
    account: Account,
    steps: list[Step] | None,
    *,
    answer: bool = False,
    stop_words: bool = False,
    quiet: bool = False,
) -> None:
    """
    Play until ``quit``, the end of a script that quits, or a signal.

    :raises SystemExit: with status 1 when it cannot start or a script fails.
    """
    over: Deferred[None] = Deferred()

    def stop() -> None:
        if not over.called:
            over.callback(None)

    double = ProviderDouble(
        reactor,
        mirror_of(account.kind, account.config),
        account.numbers,
        account.hook,
        told=(lambda sentence: None) if quiet else click.echo,
        answers=answer,
        knows_stop=stop_words,
        port=account.port,
    )
    try:
        double.startService()
    except CannotListenError as e:
        raise SystemExit(
            f"cannot listen on port {account.port}: {e.socketError}; choose another --port"
        ) from None
    try:
        if not quiet:
            click.echo(f"{account.kind} is played at http://127.0.0.1:{double.port}")
        sys.stdout.flush()
        if sys.stdin.isatty() and steps is None:
            from twisted.internet.stdio import StandardIO

            StandardIO(prompt_of(double, stop), reactor=reactor)
        if steps is not None:
            try:
                if await perform(reactor, DoubleStage(double), steps, click.echo):
                    return
            except ScriptError as error:
                raise SystemExit(f"script: {error}") from None
        await over
    finally:
        await double.stopService()
