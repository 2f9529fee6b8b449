"""Where the browser's tests happen: a daemon, a simulated box, and persons with passwords."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from playwright.sync_api import Locator, Page, expect
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from smsbridge.gateways.goip.simulator import BoxSettings, SimulatedBox, Span, numbered_lines
from smsbridge.gateways.goip.simulator.settings import INSTANT
from tests.end_to_end.browser import DESKTOP, Window, in_reactor
from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port
from tests.end_to_end.test_durability import PASSWORD as LINE_PASSWORD
from tests.end_to_end.test_durability import free_udp_port, pause

__all__ = [
    "ANN",
    "ANN_SHOWN",
    "BOB",
    "BOB_SHOWN",
    "PASSWORD",
    "InboxCase",
    "bubble",
    "choose",
    "new_text",
    "press_send",
    "row",
    "write",
]

PASSWORD = "not-a-secret-at-all"
ANN = "+12025550123"
ANN_SHOWN = "(202) 555-0123"
BOB = "+12025550124"
BOB_SHOWN = "(202) 555-0124"

CONFIGURATION = """
[http]
listen = tcp:{http_port}:interface=127.0.0.1

[gateway:box]
kind = goip
listen = udp:{udp_port}:interface=127.0.0.1

[line:home]
gateway = box
id = home
password = {line_password}
number = +12025550100

[gateway:try]
kind = demo

[line:demo]
gateway = try
number = +12025550101

[line:other]
gateway = try
number = +12025550102

[person:john]
lines = home demo
admin = yes
rate = 0

[person:mari]
lines = home
rate = 0

[person:eve]
lines = other
rate = 0
"""


def row(page: Page, text: str) -> Locator:
    """Find a conversation in the list by what it shows."""
    return page.get_by_label("Conversations", exact=True).get_by_role("link").filter(has_text=text)


def bubble(page: Page, text: str) -> Locator:
    """Find a text of the open conversation, with what stands below it."""
    return page.get_by_label("Conversation with").get_by_role("listitem").filter(has_text=text)


class InboxCase(TestCase):
    """
    A daemon with two persons who share a line and one who does not; texts go out at once.

    Tests run in the browser's thread (`browser.in_browser`) and ask the reactor for the rest.
    """

    timeout = 120

    async def setUp(self) -> None:
        """Start the daemon and give everybody a password."""
        self.windows: list[Window] = []
        self.box: SimulatedBox | None = None
        self.udp_port = free_udp_port()
        http_port = free_port()
        self.base = f"http://127.0.0.1:{http_port}"
        self.daemon = DaemonProcess(
            reactor,
            CONFIGURATION.format(
                http_port=http_port, udp_port=self.udp_port, line_password=LINE_PASSWORD
            ),
        )
        self.addCleanup(self._end)  # also when the start fails
        await self.daemon.start()
        for person in ("john", "mari", "eve"):
            await self.daemon.ask("POST", "/password", {"person": person, "password": PASSWORD})

    async def _end(self) -> None:
        if self.box is not None:
            await self.box.stopService()
        await self.daemon.remove()

    # -- from the browser's thread -----------------------------------------------------------------

    def start_box(self, **timing: Any) -> SimulatedBox:
        """Start the box and wait until its line is up."""

        async def start() -> SimulatedBox:
            settings = BoxSettings(
                server=("127.0.0.1", self.udp_port),
                lines=numbered_lines(("home",), LINE_PASSWORD),
                timing=evolve(INSTANT, keepalive_s=1.0, delivery_report=Span(0.3), **timing),
            )
            self.box = SimulatedBox(reactor, settings)
            self.box.startService()
            while not any(
                line["up"] for line in await self.daemon.listing("/lines") if line["line"] == "home"
            ):
                await pause(0.05)
            return self.box

        box: SimulatedBox = in_reactor(start)
        return box

    def receive(self, number: str, text: str) -> None:
        """Let a text arrive at the box's line."""

        async def receive() -> None:
            assert self.box is not None
            self.box.box.line("home").receive_sms(number, text)

        in_reactor(receive)

    def window(self, size: tuple[int, int] = DESKTOP, **options: Any) -> Window:
        """Open a browser."""
        window = Window(self.base, size, **options)
        self.windows.append(window)
        return window

    def logged_in(self, person: str = "john", path: str = "/", **options: Any) -> Window:
        """Open a browser of somebody who logged in already, on a page."""
        window = self.window(**options)
        answer = window.context.request.post(
            f"{self.base}/api/v2.2/session",
            data={
                "data": {
                    "type": "session",
                    "attributes": {"person": person, "password": PASSWORD, "keep": True},
                }
            },
            headers={"X-Requested-With": "smsbridge"},
        )
        self.assertEqual(answer.status, 201, answer.text())
        window.open(path)
        expect(window.page.get_by_role("navigation", name="Pages")).to_be_visible()
        return window

    def api(self, window: Window, method: str, path: str, **attributes: Any) -> Any:
        """Call the API as the window's person."""
        answer = window.context.request.fetch(
            f"{self.base}/api/v2.2{path}",
            method=method,
            data={"data": {"type": "any", "attributes": attributes}} if attributes else None,
            headers={"X-Requested-With": "smsbridge"},
        )
        self.assertLess(answer.status, 300, answer.text())
        return answer.json() if answer.body() else None


def new_text(page: Page, *recipients: str, line: str = "", group: bool = False) -> None:
    """Begin a text to somebody."""
    page.get_by_role("button", name="New text").first.click()
    field = page.get_by_label("To", exact=True)
    for recipient in recipients:
        field.fill(recipient)
        field.press("Enter")
    if line:
        page.get_by_role("group", name="Over").get_by_text(line, exact=True).click()
    if group:
        page.get_by_role("group", name="As").get_by_text("One group").click()


def write(page: Page, text: str, send: bool = False) -> None:
    """Write into the field at the foot of the conversation."""
    page.get_by_role("textbox", name=re.compile("^Text")).fill(text)
    if send:
        press_send(page)


def press_send(page: Page) -> None:
    """Press the button, whatever it would do."""
    page.get_by_label("Write").get_by_role(
        "button", name=re.compile("^(Send|Schedule|Show what would be sent)$")
    ).click()


def choose(page: Page, menu: str, item: str | re.Pattern[str]) -> None:
    """Choose from a menu."""
    page.get_by_role("button", name=menu).first.click()
    page.get_by_role("menu").locator("[role^=menuitem]").filter(has_text=item).first.click()
