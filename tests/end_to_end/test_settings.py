"""The settings of the inbox in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.end_to_end.browser import in_browser
from tests.end_to_end.inbox import ANN, PASSWORD, InboxCase, row


class AccountTests(InboxCase):
    """What belongs to the person."""

    @in_browser
    def test_a_token_is_shown_once_and_works(self) -> None:
        """A token with one scope reads and does not write; removed, it does neither."""
        window = self.logged_in(path="/#/settings")
        page = window.page
        window.button("Add a token").click()
        dialog = page.get_by_role("dialog", name="Add a token")
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("name")
        dialog.get_by_label("Name", exact=True).fill("backup")
        dialog.get_by_role("button", name="Add", exact=True).click()
        shown = page.get_by_role("dialog", name="The token backup")
        token = shown.get_by_label("The token").inner_text().strip()
        shown.get_by_role("button", name="I have copied it").click()

        other = self.window()
        headers = {"Authorization": f"Bearer {token}"}
        address = f"{self.base}/api/v2.2/messages"
        body = {"data": {"type": "message", "attributes": {"to": ANN, "body": "x"}}}
        self.assertEqual(other.context.request.get(address, headers=headers).status, 200)
        refused = other.context.request.post(address, headers=headers, data=body)
        self.assertEqual(refused.status, 403)

        self.assertNotIn(token, page.content())
        window.button("Remove the token backup").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
        expect(window.button("Remove the token backup")).to_have_count(0)
        self.assertEqual(other.context.request.get(address, headers=headers).status, 401)

    @in_browser
    def test_the_password_is_changed_by_who_knows_it(self) -> None:
        """A wrong present password is told at its field; with the right one the new one holds."""
        window = self.logged_in(path="/#/settings")
        page = window.page
        window.expect_trouble("^422 POST /api/v2.2/me/password$")
        new = "another-long-one"

        def change(current: str, again: str) -> None:
            page.get_by_label("Present password").fill(current)
            page.get_by_label("New password", exact=True).fill(new)
            page.get_by_label("New password again").fill(again)
            window.button("Change the password").click()

        change(PASSWORD, "something else")
        expect(page.get_by_role("alert")).to_contain_text("not the same")
        change("wrong", new)
        expect(page.get_by_role("alert")).to_be_visible()
        change(PASSWORD, new)
        expect(page.get_by_text("The new password holds from now on.")).to_be_visible()

        other = self.window()
        other.open()
        other.log_in("john", new)
        expect(other.page.get_by_role("navigation", name="Pages")).to_be_visible()

    @in_browser
    def test_a_session_elsewhere_is_ended(self) -> None:
        """The other browser is asked to log in, and this one stays."""
        other = self.logged_in()
        window = self.logged_in(path="/#/settings")
        other.expect_trouble("^401 ")

        window.page.get_by_role("button", name=re.compile("^End the session of")).first.click()

        expect(window.page.get_by_text("That session has ended.")).to_be_visible()
        other.page.reload()
        expect(other.button("Log in")).to_be_visible()
        window.page.reload()
        expect(window.page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()

    @in_browser
    def test_a_blocked_number_is_let_through_again(self) -> None:
        """The settings list who is blocked; unblocked, texts reach the inbox again."""
        self.start_box()
        self.receive(ANN, "hello")
        window = self.logged_in()
        page = window.page
        expect(row(page, "hello")).to_be_visible()
        self.api(window, "PUT", f"/blocks/{ANN.replace('+', '%2B')}")

        window.open("/#/settings")
        page.get_by_role("button", name=re.compile("^Unblock")).click()

        expect(page.get_by_text("Nobody is blocked.")).to_be_visible()
        window.open("/#/")
        expect(row(page, "hello")).to_be_visible()

    @in_browser
    def test_colors_are_remembered(self) -> None:
        """Dark is dark at once after a reload, whatever the system says."""
        window = self.logged_in(path="/#/settings")
        page = window.page

        page.get_by_role("group", name="Colors").get_by_text("Dark", exact=True).click()
        page.reload()

        expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
        self.assertEqual(page.evaluate("document.documentElement.dataset.theme"), "dark")
