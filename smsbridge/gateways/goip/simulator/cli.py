"""The command ``smsbridge simulate goip``: a box in a terminal, in a script, or for a test."""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

import attrs
import click
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.error import CannotListenError

from smsbridge.gateways.goip.codec import InvalidCommand
from smsbridge.gateways.goip.simulator.box import SimulatedBox
from smsbridge.gateways.goip.simulator.commands import COMMANDS, describe
from smsbridge.gateways.goip.simulator.control import ControlFactory
from smsbridge.gateways.goip.simulator.journal import Happening
from smsbridge.gateways.goip.simulator.script import BoxStage, prompt_of
from smsbridge.gateways.goip.simulator.settings import (
    DEFAULT_MENU,
    DEMO_TIMING,
    INSTANT,
    PROFILES,
    BoxSettings,
    Menu,
    Profile,
    Span,
    Timing,
    menu_tree,
    numbered_lines,
)
from smsbridge.simulation import ScriptError, Step, perform, steps_in

PACES = {"real": Timing(), "brisk": DEMO_TIMING, "instant": INSTANT}


@attrs.frozen(kw_only=True)
class Invocation:
    """What the command line asked for."""

    settings: BoxSettings
    steps: list[Step] | None
    control: tuple[str, str] | None
    quiet: bool
    interactive: bool


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> Span | None:
    if value is None:
        return None
    try:
        return Span.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _server(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as 127.0.0.1:44444")
    return host, int(port)


def _control(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    if value is None:
        return None
    kind, _, rest = value.partition(":")
    if kind == "unix" and rest:
        return kind, rest
    if kind == "tcp" and rest.isdecimal() and int(rest) < 65536:
        return kind, rest
    raise click.BadParameter(f"{value!r} is neither unix:PATH nor tcp:PORT (tcp:0 takes any port)")


def _ids(ids: tuple[str, ...], channels: int | None) -> list[str]:
    if channels is None:
        return list(ids) if ids else ["demo1", "demo2"]
    if channels < 1 or channels > 10_000:
        raise click.BadParameter("1 to 10000 channels are possible", param_hint="--channels")
    if len(ids) > 1:
        if len(ids) != channels:
            raise click.BadParameter(
                f"{len(ids)} ids for {channels} channels; give one as a prefix, or one a channel",
                param_hint="--id",
            )
        return list(ids)
    prefix = ids[0] if ids else "demo"
    return [f"{prefix}{number}" for number in range(1, channels + 1)]


def _menu(entries: tuple[str, ...]) -> dict[str, Menu]:
    if not entries:
        return dict(DEFAULT_MENU)
    pairs = []
    for entry in entries:
        path, equals, text = entry.partition("=")
        if not equals or not path:
            raise click.BadParameter(
                f"{entry!r} is not CODE=TEXT, such as '*100#=Your balance is 10.00'",
                param_hint="--ussd",
            )
        pairs.append((path, text.replace("\\n", "\n")))
    try:
        return menu_tree(pairs)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ussd") from None


@click.command("goip", context_settings={"show_default": True})
@click.option(
    "--server",
    default="127.0.0.1:44444",
    callback=_server,
    metavar="HOST:PORT",
    help="Where smsbridge listens for GoIP boxes.",
)
@click.option(
    "--channels",
    type=int,
    default=None,
    metavar="N",
    help="Number of lines; their ids are --id with 1 to N behind it.",
)
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="ID",
    help="Id of a line, as in smsbridge's configuration; may be repeated.  [default: demo1, demo2]",
)
@click.option(
    "--password",
    default="demo",
    metavar="WORD",
    help="Password of all lines.",
)
@click.option(
    "--profile",
    type=click.Choice(sorted(PROFILES)),
    default="v3",
    help="Generation of the firmware.",
)
@click.option(
    "--pace",
    type=click.Choice(list(PACES)),
    default="brisk",
    help="How long everything takes: as on hardware, for a demonstration, or no time.",
)
@click.option(
    "--keepalive", type=float, default=None, metavar="SECONDS", help="Between keepalives."
)
@click.option(
    "--sms-duration",
    callback=_span,
    default=None,
    metavar="SECONDS",
    help="To send a text: 2 or 2-5.",
)
@click.option(
    "--dlr-delay",
    callback=_span,
    default=None,
    metavar="SECONDS",
    help="Until the delivery report.",
)
@click.option(
    "--ussd-duration",
    callback=_span,
    default=None,
    metavar="SECONDS",
    help="To answer a USSD code.",
)
@click.option(
    "--gsm-init", callback=_span, default=None, metavar="SECONDS", help="To find the network."
)
@click.option("--dlr/--no-dlr", default=True, help="Whether delivery reports come at all.")
@click.option("--answer", is_flag=True, help="Answer every text that is sent: You said: ...")
@click.option(
    "--answer-delay", callback=_span, default="2", metavar="SECONDS", help="Until that answer."
)
@click.option(
    "--ussd",
    multiple=True,
    metavar="CODE=TEXT",
    help="What the network answers; CODE/CHOICE=TEXT for a menu.",
)
@click.option("--resend-dup", is_flag=True, help="Send a text again for a repeated SEND.")
@click.option("--lenient-ack", is_flag=True, help="Take goippy's RECEIVEOK for an ack.")
@click.option("--serial", is_flag=True, help="Push one report at a time.")
@click.option("--smsc", is_flag=True, help="Report the number of the SMS center.")
@click.option(
    "--recvid-clock",
    type=click.Choice(["real", "epoch"]),
    default="real",
    help="Number pushes from the time of day, or from a small number after every reboot.",
)
@click.option("--first-recvid", type=int, default=None, help="Number the first push.")
@click.option(
    "--base-port",
    type=click.IntRange(0, 65534),
    default=0,
    help="Line n sends from this port + n (real boxes: 9990 or 10990); 0 takes any.",
)
@click.option("--interface", default="", metavar="ADDRESS", help="Local address to send from.")
@click.option("--spread", type=float, default=None, help="Seconds over which lines start.")
@click.option("--keep", type=click.IntRange(1), default=100_000, help="Texts to remember.")
@click.option(
    "--script", type=click.Path(), default=None, help="Perform a file of commands; - is stdin."
)
@click.option(
    "--control",
    callback=_control,
    default=None,
    metavar="unix:PATH|tcp:PORT",
    help="Take commands as lines of JSON.",
)
@click.option("--quiet", is_flag=True, help="Do not tell what happens.")
@click.option("--seed", type=int, default=None, help="Make chance repeatable.")
def goip(**options: Any) -> None:
    """
    Simulate a GoIP GSM gateway.

    Every line registers at smsbridge as a real box does, takes texts, USSD codes and control
    commands from it, and reports texts, calls and line state to it.  In a terminal a prompt drives
    the box: type help there.

    \b
    Two lines that answer:
        smsbridge simulate goip --channels 2 --id demo --password demo --answer
    """
    invocation = _invocation(options)
    from twisted.internet import reactor
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(serve(reactor, invocation)))


def _invocation(options: dict[str, Any]) -> Invocation:
    ids = _ids(options["ids"], options["channels"])
    changes: dict[str, Any] = {
        "keepalive_s": options["keepalive"],
        "sms": options["sms_duration"],
        "delivery_report": options["dlr_delay"],
        "ussd": options["ussd_duration"],
        "gsm_init": options["gsm_init"],
    }
    flags = {
        "resend_dup": options["resend_dup"],
        "lenient_ack": options["lenient_ack"],
        "serial_pushes": options["serial"],
        "sends_smsc": options["smsc"],
    }
    changed_flags: dict[str, Any] = {key: True for key, on in flags.items() if on}
    spread_s = options["spread"]
    if spread_s is None:
        # A few hundred keepalives at once would overrun the socket buffer of a usual server.
        spread_s = 0.0 if len(ids) <= 64 else len(ids) / 200
    try:
        timing = attrs.evolve(
            PACES[options["pace"]],
            **{key: value for key, value in changes.items() if value is not None},
        )
        profile: Profile = attrs.evolve(PROFILES[options["profile"]], **changed_flags)
        settings = BoxSettings(
            server=options["server"],
            lines=numbered_lines(ids, options["password"]),
            timing=timing,
            profile=profile,
            base_port=options["base_port"],
            interface=options["interface"],
            recvid_clock=options["recvid_clock"],
            first_recvid=options["first_recvid"],
            delivery_reports=options["dlr"],
            answer=options["answer"],
            answer_delay=options["answer_delay"],
            menu=_menu(options["ussd"]),
            start_spread_s=spread_s,
            kept=options["keep"],
            seed=options["seed"],
        )
    except (InvalidCommand, ValueError) as error:
        raise click.UsageError(str(error)) from None
    return Invocation(
        settings=settings,
        steps=None if options["script"] is None else steps_in(options["script"], COMMANDS),
        control=options["control"],
        quiet=options["quiet"],
        interactive=sys.stdin.isatty() and options["script"] != "-",
    )


async def serve(reactor: Any, invocation: Invocation) -> None:
    """
    Run a box until ``quit``, the end of a script that quits, or a signal.

    :raises SystemExit: with status 1 when it cannot start or a script fails.
    """
    over: Deferred[None] = Deferred()

    def stop() -> None:
        if not over.called:
            over.callback(None)

    service = SimulatedBox(reactor, invocation.settings)
    box = service.box
    if not invocation.quiet and not invocation.interactive:
        box.journal.observers.append(_tell)
    _allow_files(len(box.channels) + 64)
    try:
        service.startService()
    except CannotListenError as error:
        raise SystemExit(
            f"cannot listen on {error.interface or 'UDP'} port {error.port}: "
            f"{error.socketError}; choose another --base-port or --interface, or fewer --channels"
        ) from None
    try:
        host, port = invocation.settings.server
        ids = [channel.id for channel in box.channels]
        shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        if not invocation.quiet:
            click.echo(f"simulated GoIP with {shown}, reporting to {host}:{port}")
        if invocation.control is not None:
            click.echo(await _listen(reactor, service, invocation.control, stop))
        sys.stdout.flush()
        if invocation.interactive:
            from twisted.internet.stdio import StandardIO

            StandardIO(prompt_of(box, stop, quiet=invocation.quiet), reactor=reactor)
        if invocation.steps is not None:
            try:
                if await perform(reactor, BoxStage(box), invocation.steps, click.echo):
                    return
            except ScriptError as error:
                raise SystemExit(f"script: {error}") from None
        await over
    finally:
        await service.stopService()


def _allow_files(count: int) -> None:
    """Let the process open that many files, a socket for every line, as far as the system lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tell(happening: Happening) -> None:
    text = describe(happening)
    if text is not None:
        click.echo(text)


async def _listen(reactor: Any, service: SimulatedBox, control: tuple[str, str], stop: Any) -> str:
    """Open the control port; returns the line that tells where it is."""
    kind, where = control
    factory = ControlFactory(service.box, stop)
    try:
        if kind == "unix":
            await UNIXServerEndpoint(reactor, where, mode=0o600, wantPID=True).listen(factory)
            return f"control unix:{where}"
        port = await TCP4ServerEndpoint(reactor, int(where), interface="127.0.0.1").listen(factory)
        return f"control tcp:127.0.0.1:{port.getHost().port}"
    except (CannotListenError, OSError) as error:
        detail = getattr(error, "socketError", error)
        raise SystemExit(f"cannot open the control port {kind}:{where}: {detail}") from None


def main() -> None:
    """Run the command by itself."""
    goip(prog_name=os.path.basename(sys.argv[0]))


if __name__ == "__main__":
    main()
