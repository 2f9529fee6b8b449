"""The service worker in a real browser: notifications, new versions, and what a log out forgets."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page, Worker, expect
from twisted.internet import reactor
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from smsbridge.web.pages import STATIC, Pages
from tests.end_to_end.browser import Window, in_browser
from tests.end_to_end.inbox import ANN, InboxCase, bubble, row
from tests.end_to_end.test_durability import pause

_reactor: Any = reactor

KEPT = """async () => {
  const cache = await caches.open("answers-1");
  return (await cache.keys()).map((key) => new URL(key.url).pathname);
}"""
# A headless browser takes every tab for the one that is looked at; a phone in a pocket has none.
NOBODY_LOOKS = """() => {
  self.all = self.clients.matchAll.bind(self.clients);
  self.clients.matchAll = async () => [];
}"""
PRESS = """async () => {
  self.clients.matchAll = self.all;
  const [notification] = await self.registration.getNotifications();
  self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
}"""
SHOWN = """async () => {
  const registration = await navigator.serviceWorker.ready;
  const shown = await registration.getNotifications();
  return shown.map(({ title, body }) => [title, body]);
}"""


def controlled(page: Page) -> None:
    """Wait until the worker serves the page."""
    page.wait_for_function("() => navigator.serviceWorker.controller !== null")


def until(page: Page, script: str, right: Callable[[Any], bool]) -> None:
    """Ask the page again until the answer is right."""
    for _ in range(400):
        if right(page.evaluate(script)):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"this did not come: {page.evaluate(script)}")


def pocketed(window: Window) -> Worker:
    """Let nobody look at a window that may show notifications; returns its worker."""
    window.context.grant_permissions(["notifications"], origin=window.base)
    controlled(window.page)
    [worker] = window.context.service_workers
    worker.evaluate(NOBODY_LOOKS)
    return worker


def push(session: CDPSession, page: Page, data: str) -> None:
    """Hand the worker what a push service would."""
    found: list[dict[str, Any]] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(event["registrations"]),
    )
    session.send("ServiceWorker.enable")
    while not found:
        page.wait_for_timeout(20)
    session.send(
        "ServiceWorker.deliverPushMessage",
        {
            "origin": page.evaluate("location.origin"),
            "registrationId": found[0]["registrationId"],
            "data": data,
        },
    )
    session.send("ServiceWorker.disable")


class NotificationTests(InboxCase):
    """What a pushed text becomes."""

    @in_browser
    def test_a_pushed_text_is_shown_and_leads_to_its_conversation(self) -> None:
        """The notification has name and text; pressed, it opens the conversation and is gone."""
        self.start_box()
        self.receive(ANN, "are you coming")
        window = self.logged_in()
        page = window.page
        worker = pocketed(window)
        expect(row(page, "are you coming")).to_be_visible()
        [conversation] = self.api(window, "GET", "/conversations")["data"]
        told = {"title": "Ann", "body": "are you coming", "conversation": conversation["id"]}

        push(window.context.new_cdp_session(page), page, json.dumps({**told, "unread": 1}))

        until(page, SHOWN, lambda shown: len(shown) == 1)
        self.assertEqual(page.evaluate(SHOWN), [["Ann", "are you coming"]])
        worker.evaluate(PRESS)
        expect(bubble(page, "are you coming")).to_be_visible()
        until(page, SHOWN, lambda shown: not shown)

    @in_browser
    def test_a_push_that_cannot_be_read_says_that_something_came(self) -> None:
        """Browsers insist on a notification for every push, so there is one."""
        window = self.logged_in()
        pocketed(window)

        push(window.context.new_cdp_session(window.page), window.page, "\x00 no json")

        until(window.page, SHOWN, lambda shown: len(shown) == 1)
        self.assertEqual(window.page.evaluate(SHOWN), [["smsbridge", "A new text is waiting."]])


class ForgettingTests(InboxCase):
    """What stays in the browser."""

    @in_browser
    def test_log_out_forgets_every_answer(self) -> None:
        """After a log out the browser holds no text, also not for times without the network."""
        self.start_box()
        self.receive(ANN, "a secret")
        window = self.logged_in()
        page = window.page
        controlled(page)
        page.reload()
        row(page, "a secret").click()
        expect(bubble(page, "a secret")).to_be_visible()
        until(page, KEPT, lambda kept: any(path.endswith("/messages") for path in kept))

        window.open("/#/settings")
        window.button("Log out").click()
        expect(window.button("Log in")).to_be_visible()

        self.assertEqual(page.evaluate(KEPT), [])
        with window.outage():
            window.context.set_offline(True)
            page.reload()
            expect(page.get_by_role("heading", name="No connection")).to_be_visible()
            self.assertNotIn("a secret", page.content())

    @in_browser
    def test_events_and_changes_are_not_kept(self) -> None:
        """Only what somebody reads is kept: no stream, no token, no session, no media."""
        window = self.logged_in()
        page = window.page
        controlled(page)
        page.reload()
        window.open("/#/settings")
        expect(page.get_by_role("heading", name="Tokens for programs")).to_be_visible()
        until(page, KEPT, lambda kept: "/api/v2.2/me" in kept)

        kept = page.evaluate(KEPT)

        allowed = re.compile(r"^/api/v2\.2/(me|conversations(/.*)?|contacts|groups|lines|calls)$")
        self.assertEqual([path for path in kept if not allowed.match(path)], [])


class NewVersionTests(TestCase):
    """The page after an upgrade of the daemon."""

    timeout = 60

    def setUp(self) -> None:
        """Serve a copy of the page's files."""
        self.windows: list[Window] = []
        self.folder = Path(self.mktemp())
        shutil.copytree(STATIC, self.folder)
        self.site = WrappingFactory(Site(Pages(self.folder)))
        self.port = _reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(self._end)

    async def _end(self) -> None:
        """Close the port, and what the browser would keep for its next request."""
        await self.port.stopListening()
        while self.site.protocols:
            for protocol in list(self.site.protocols):
                protocol.transport.abortConnection()
            await pause(0.01)

    @in_browser
    def test_is_offered_and_taken(self) -> None:
        """The old page stays until its reader takes the new one; then that is shown."""
        window = Window(f"http://127.0.0.1:{self.port.getHost().port}")
        self.windows.append(window)
        window.expect_trouble("/api/v2.2/me$")  # there is no daemon behind these files
        page = window.open("/")
        controlled(page)
        index = self.folder / "index.html"
        text = index.read_text(encoding="utf-8")

        index.write_text(text.replace('<html lang="en">', '<html lang="en-NEW">'), "utf-8")
        page.reload()

        expect(page.get_by_text("A new version of smsbridge is ready.")).to_be_visible()
        self.assertEqual(page.evaluate("document.documentElement.lang"), "en")
        with page.expect_navigation():
            window.button("Reload").click()
        page.wait_for_function("() => document.documentElement.lang === 'en-NEW'")
