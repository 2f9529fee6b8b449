"""Two tabs of one browser in which one person goes and another comes."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.end_to_end.browser import in_browser
from tests.end_to_end.inbox import PASSWORD, InboxCase

# As the page does it, only so fast that no other tab notices that there was nobody in between.
_CHANGE = """async ([password, told]) => {
  const headers = {"X-Requested-With": "smsbridge", "Content-Type": "application/json"};
  await fetch("/api/v2.2/session", {method: "DELETE", headers});
  const body = JSON.stringify({person: "eve", password});
  const answer = await fetch("/api/v2.2/session", {method: "POST", headers, body});
  if (told) localStorage.setItem("smsbridge.login", JSON.stringify(Date.now()));
  return answer.status;
}"""


class SharedBrowserTests(InboxCase):
    """What a person left open must not go on under the name of the next."""

    @in_browser
    def test_another_login_in_another_tab(self) -> None:
        """The first tab loads anew, as the person who is logged in now."""
        self.change(told=True)

    @in_browser
    def test_another_login_that_the_tab_hears_of_by_its_stream_alone(self) -> None:
        """As soon as its stream is open again, it loads anew all the same."""
        self.change(told=False)

    def change(self, *, told: bool) -> None:
        """Let John's tab see how Eve logs in in another tab."""
        window = self.logged_in()
        page = window.page
        page.evaluate("window.before = true")
        page.goto(f"{self.base}/#/settings")
        expect(page.get_by_text("john").first).to_be_visible()
        window.expect_trouble("^401 ")
        tab = window.tab()
        window.open("/robots.txt", tab)

        self.assertEqual(tab.evaluate(_CHANGE, [PASSWORD, told]), 201)

        expect(page.get_by_text("eve").first).to_be_visible()
        expect(page.get_by_text("john")).to_have_count(0)
        self.assertFalse(page.evaluate("window.before === true"))
