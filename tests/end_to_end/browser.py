"""
A real Chromium that uses the inbox as a person does, driven through Playwright in a thread of its
own.

Every window is watched all the time: an error on the console, a breach of the Content-Security-
Policy, a request to a foreign host, or a failed request that the test did not announce, fails the
test.  What is clicked is found by role and label, as a person (or a screen reader) finds it.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SkipTest

__all__ = ["DESKTOP", "PHONE", "Chromium", "Window", "chromium", "in_browser", "in_reactor"]

DESKTOP: Final = (1280, 800)
PHONE: Final = (390, 844)
PATIENCE_MS: Final = 15_000

_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page might ask for elsewhere never leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
#: What axe calls faults that keep people from using a page.
_GRAVE: Final = frozenset({"serious", "critical"})

_KEPT: Final = """
async () => {
    const found = [{...localStorage}, {...sessionStorage}].map((each) => JSON.stringify(each));
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const each of await cache.keys()) {
            if (new URL(each.url).pathname.startsWith("/static/")) continue;
            found.push(each.url, await (await cache.match(each)).text());
        }
    }
    return found.join("\\n");
}
"""

_T = TypeVar("_T")
_reactor: Any = reactor


def program() -> str:
    """
    Return the path of the system's Chromium.

    :raises SkipTest: there is none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise SkipTest("needs Chromium: scripts/install-test-packages chromium")


class Chromium:
    """One browser in one thread, for all tests of the process."""

    def __init__(self) -> None:
        self._program = program()
        self._pool = ThreadPool(1, 1, "browser")
        self._pool.start()
        self._playwright: Any = None
        self._browser: Any = None
        _reactor.addSystemEventTrigger("before", "shutdown", self.stop)

    def run(self, function: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Call a function in the browser's thread; there alone may Playwright be used."""
        found: Deferred[_T] = deferToThreadPool(_reactor, self._pool, function, *arguments)
        return found

    def stop(self) -> Deferred[None]:
        """Close the browser and end the thread."""
        return self.run(self._close).addBoth(lambda _: self._pool.stop())

    def _close(self) -> None:
        if self._browser is not None:
            self._browser.close()
            self._playwright.stop()

    def context(self, size: tuple[int, int], scheme: str, **options: Any) -> BrowserContext:
        """Open a browser profile without any past; in the browser's thread."""
        if self._browser is None:
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=self._program, args=list(_ARGUMENTS)
            )
            expect.set_options(timeout=PATIENCE_MS)
        width, height = size
        context: BrowserContext = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            locale="en-US",
            timezone_id="Europe/Tallinn",
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(PATIENCE_MS)
        return context


@functools.cache
def chromium() -> Chromium:
    """Return the browser that all tests share."""
    return Chromium()


def in_browser(test: Callable[[Any], None]) -> Callable[[Any], Deferred[None]]:
    """Run a test's method in the browser's thread; afterwards its windows are looked at."""

    @functools.wraps(test)
    def run(case: Any) -> Deferred[None]:
        def body() -> None:
            try:
                test(case)
                for window in case.windows:
                    window.check()
            except BaseException:
                for number, window in enumerate(case.windows):
                    window.picture(f"{case.id()}-{number}.png")
                raise
            finally:
                for window in case.windows:
                    window.close()

        return chromium().run(body)

    return run


def in_reactor(call: Callable[[], Any]) -> Any:
    """Call from the browser's thread something that returns a coroutine; returns its result."""
    return blockingCallFromThread(_reactor, lambda: Deferred.fromCoroutine(call()))


class Window:
    """
    A person's browser window: a profile with one or more tabs, watched for trouble.

    :param base: the address of the inbox, without a slash at the end.
    """

    def __init__(
        self,
        base: str,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        **options: Any,
    ) -> None:
        self.base = base
        self.context = chromium().context(size, scheme, **options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base)
        self.troubles: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.expect_trouble(r"^401 GET /api/v2.2/me$")  # asked to find out whether to log in
        self.context.on("request", self._asked)
        self.context.on("requestfailed", self._broken)
        self.context.on("response", self._answered)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self._trouble(f"error {error.error}"))
        self.page = self.tab()

    # -- what goes wrong -------------------------------------------------------------------------

    def expect_trouble(self, pattern: str) -> None:
        """
        Take trouble of this kind for what the test wants to see.

        :param pattern: searched in lines such as ``503 POST /api/v2.2/messages`` and ``broken GET
            /api/v2.2/events net::ERR_CONNECTION_REFUSED``.
        """
        self._expected.append(re.compile(pattern))

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Take broken requests for granted while the server is away."""
        away = re.compile(r"^broken .* net::ERR_|^50[234] ")
        self._expected.append(away)
        yield
        self._expected.remove(away)

    def check(self) -> None:
        """Fail if something went wrong that the test did not expect."""
        # What is on its way here arrives before the answer to this.
        self.page.evaluate("0")
        if self.troubles:
            raise AssertionError("the browser complains:\n  " + "\n  ".join(self.troubles))

    def _trouble(self, text: str) -> None:
        if not any(pattern.search(text) for pattern in self._expected):
            self.troubles.append(text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and not request.url.startswith(
            self.base + "/"
        ):
            self._trouble(f"foreign {request.method} {request.url}")

    def _broken(self, request: Request) -> None:
        # A page that is left, or a stream that is closed, ends its requests itself.
        if request.failure and "ERR_ABORTED" not in request.failure:
            path = request.url.removeprefix(self.base)
            self._trouble(f"broken {request.method} {path} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            path = response.url.removeprefix(self.base)
            self._trouble(f"{response.status} {response.request.method} {path}")

    def _said(self, message: ConsoleMessage) -> None:
        # Failed requests are judged by the request, which says more.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._trouble(f"console {message.text}")

    # -- tabs ------------------------------------------------------------------------------------

    def tab(self) -> Page:
        """Open one more tab."""
        return self.context.new_page()

    def open(self, path: str = "/", page: Page | None = None) -> Page:
        """Open an address of the inbox."""
        page = page or self.page
        page.goto(self.base + path)
        return page

    def picture(self, name: str) -> None:
        """Keep what is seen, to look at after a failure."""
        try:
            # To hide the caret would take a style of its own, which the page forbids.
            self.page.screenshot(path=Path(name).absolute(), caret="initial")
        except Error:
            pass  # a window that is gone has no picture

    def close(self) -> None:
        """Close all tabs."""
        try:
            self.context.close()
        except Error:
            pass  # it crashed, which the test has told

    # -- what persons do -------------------------------------------------------------------------

    def button(self, name: str | re.Pattern[str], within: Any = None) -> Locator:
        """Find a button by its label."""
        found: Locator = (within or self.page).get_by_role("button", name=name)
        return found

    def log_in(self, person: str, password: str) -> None:
        """Fill the form."""
        self.page.get_by_label("Name", exact=True).fill(person)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.button("Log in").click()

    def kept(self) -> str:
        """Return what pages keep in this browser: its storages, and its caches of answers."""
        found: str = self.page.evaluate(_KEPT)
        return found

    def faults(self, page: Page | None = None) -> list[str]:
        """Return the grave faults that axe-core finds on what is shown, one line each."""
        own = re.compile("^console Applying inline style")  # axe tries one while it looks
        self._expected.append(own)
        found = Axe().run(page or self.page).response["violations"]
        self._expected.remove(own)
        return [
            f"{fault['id']} ({fault['impact']}): {fault['help']}: {node['html'][:200]}"
            for fault in found
            if fault["impact"] in _GRAVE
            for node in fault["nodes"]
        ]
