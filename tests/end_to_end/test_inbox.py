"""The inbox in a real browser, as persons use it."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.end_to_end.browser import DESKTOP, PHONE, in_browser, in_reactor
from tests.end_to_end.inbox import (
    ANN,
    ANN_SHOWN,
    BOB,
    BOB_SHOWN,
    PASSWORD,
    InboxCase,
    bubble,
    choose,
    new_text,
    press_send,
    row,
    write,
)


class LoginTests(InboxCase):
    """The door."""

    @in_browser
    def test_first_login(self) -> None:
        """A wrong password is told in words; the right one opens an inbox that says what to do."""
        window = self.window()
        page = window.open()
        window.expect_trouble("^401 POST /api/v2.2/session$")

        window.log_in("john", "wrong-password")
        expect(page.get_by_role("alert")).to_contain_text("password")
        expect(page.get_by_label("Name", exact=True)).to_have_value("john")
        window.log_in("john", PASSWORD)

        expect(page.get_by_text("No conversations yet")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No conversations yet")).to_be_visible()
        self.assertEqual(window.faults(), [])

    @in_browser
    def test_log_out(self) -> None:
        """Nothing of the person is left on the page, nor in what opens offline."""
        self.start_box()
        self.receive(ANN, "a secret")
        window = self.logged_in()
        page = window.page
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        row(page, "a secret").click()
        expect(bubble(page, "a secret")).to_be_visible()
        write(page, "a secret answer")
        self.assertIn("a secret answer", window.kept())

        window.open("/#/settings")
        window.button("Log out").click()

        expect(window.button("Log in")).to_be_visible()
        with window.outage():
            for stop in (False, True):
                if stop:
                    in_reactor(self.daemon.stop)
                window.open("/#/contacts")
                window.open()
                page.wait_for_timeout(500)
                self.assertNotIn("a secret", page.content())
        self.assertNotIn("a secret", window.kept())

    @in_browser
    def test_a_session_that_ends_keeps_what_was_typed(self) -> None:
        """The form comes over the page, and the text is still there afterwards."""
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "half a thought")
        window.expect_trouble("^401 ")

        other = self.logged_in()
        sessions = self.api(other, "GET", "/me/sessions")["data"]
        for session in sessions:
            if not session["attributes"]["current"]:
                self.api(other, "DELETE", f"/me/sessions/{session['id']}")
        write(page, "half a thought, and more", send=True)
        again = page.get_by_role("dialog", name="Log in again")
        expect(again).to_be_visible()
        again.get_by_label("Password", exact=True).fill(PASSWORD)
        again.get_by_role("button", name="Log in").click()

        expect(again).to_be_hidden()
        expect(page.get_by_text("half a thought, and more").first).to_be_visible()


class TextTests(InboxCase):
    """Texts out and in."""

    @in_browser
    def test_out_and_in_with_ticks(self) -> None:
        """A text goes out, its ticks come by themselves, and so does the answer."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "hello; a:b \N{GRINNING FACE}", send=True)

        expect(bubble(page, "hello; a:b")).to_contain_text("Delivered")
        self.assertEqual(
            [(each.num, each.text) for each in box.box.journal.radiated],
            [(ANN, "hello; a:b \N{GRINNING FACE}")],
        )
        self.receive(ANN, "hi back")
        expect(bubble(page, "hi back")).to_be_visible()
        expect(row(page, ANN_SHOWN)).to_contain_text("hi back")

        page.reload()
        expect(bubble(page, "hi back")).to_be_visible()
        expect(bubble(page, "hello; a:b")).to_contain_text("Delivered")

    @in_browser
    def test_unread_texts_are_counted_until_they_are_seen(self) -> None:
        """In the list and in the title."""
        self.start_box()
        window = self.logged_in()
        page = window.page
        self.receive(ANN, "first")
        self.receive(ANN, "second")
        expect(row(page, "second")).to_have_accessible_name(re.compile("2 unread"))
        expect(page).to_have_title(re.compile(r"^\(1\)|\(2\)"))

        row(page, "second").click()
        expect(bubble(page, "second")).to_be_visible()

        expect(row(page, "second")).not_to_have_accessible_name(re.compile("unread"))
        expect(page).not_to_have_title(re.compile(r"^\("))

    @in_browser
    def test_failed_with_reason_and_sent_again(self) -> None:
        """What the network refused is told in words, and goes out on a second try."""
        box = self.start_box()

        async def refuse() -> None:
            box.box.line("home").refuse_sends(ANN, 30, 1)

        in_reactor(refuse)
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "try me", send=True)
        failed = bubble(page, "try me")
        expect(failed).to_contain_text("Not sent")
        self.assertRegex(failed.inner_text(), r"\w+ \w+ \w+")

        failed.get_by_role("button", name="Send again").click()

        expect(failed).to_contain_text("Delivered")
        self.assertEqual(len(box.box.journal.radiated), 1)

    @in_browser
    def test_group(self) -> None:
        """One text to two is one conversation, and answers of both come into it."""
        window = self.logged_in()
        page = window.page
        new_text(page, ANN, BOB, line="demo", group=True)
        write(page, "dinner at eight", send=True)

        expect(bubble(page, "dinner at eight").first).to_contain_text("Delivered")
        expect(page.get_by_label("Conversation with").get_by_text("2 people")).to_be_visible()

    @in_browser
    def test_each_alone(self) -> None:
        """One text to two stands in the conversation with each, where the answers will be."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN, BOB)
        write(page, "same to you", send=True)

        for shown in (ANN_SHOWN, BOB_SHOWN):
            expect(row(page, shown)).to_contain_text("same to you")
            row(page, shown).click()
            expect(bubble(page, "same to you")).to_contain_text("Delivered")
        self.assertEqual({each.num for each in box.box.journal.radiated}, {ANN, BOB})

    @in_browser
    def test_picture_out_and_in(self) -> None:
        """A picture is made small, goes out as an MMS, and one comes back."""
        path = Path(self.mktemp() + ".jpg")
        Image.effect_noise((2400, 1800), 90).convert("RGB").save(path, quality=95)
        window = self.logged_in()
        page = window.page
        new_text(page, ANN, line="demo")
        with page.expect_file_chooser() as chooser:
            window.button("Attach a file").click()
        chooser.value.set_files(path)
        expect(page.get_by_label("Attached")).to_contain_text("→")
        write(page, "look", send=True)

        expect(bubble(page, "look").first).to_contain_text("Delivered")
        pictures = window.button(re.compile("^Open the picture"))
        expect(pictures).to_have_count(2)
        for number in range(2):
            picture = pictures.nth(number).locator("img")
            self.assertGreater(picture.evaluate("each => each.naturalWidth"), 0)

    @in_browser
    def test_scheduled_and_canceled(self) -> None:
        """A text for tomorrow stands in its conversation and can be taken back."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "good morning")
        choose(page, "More ways to send", "Send later")
        page.get_by_role("button", name="Tomorrow morning").click()
        press_send(page)
        later = bubble(page, "good morning")
        expect(later).to_contain_text("Scheduled")

        later.get_by_role("button", name="Cancel").click()

        expect(later).to_contain_text("Canceled")
        self.assertEqual(list(box.box.journal.radiated), [])

    @in_browser
    def test_mode_sends_nothing(self) -> None:
        """It shows what would be sent; only sending it from there sends."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "x" * 161)
        choose(page, "More ways to send", "Test mode")
        press_send(page)

        dialog = page.get_by_role("dialog", name="What would be sent")
        expect(dialog).to_contain_text("2 texts")
        expect(dialog).to_contain_text("Nothing has been sent")
        dialog.get_by_role("button", name="Back to the text").click()
        self.assertEqual(self.api(window, "GET", "/messages")["data"], [])
        self.assertEqual(list(box.box.journal.radiated), [])

    @in_browser
    def test_another_person_sees_nothing(self) -> None:
        """Who shares the line sees the texts; who does not sees none, in no way."""
        self.start_box()
        self.receive(ANN, "for the family")
        john = self.logged_in()
        row(john.page, "for the family").click()
        expect(bubble(john.page, "for the family")).to_be_visible()
        address = john.page.url.removeprefix(self.base)

        mari = self.logged_in("mari")
        expect(row(mari.page, "for the family")).to_be_visible()

        eve = self.logged_in("eve")
        eve.expect_trouble("^40[34] ")
        expect(eve.page.get_by_text("No conversations yet")).to_be_visible()
        eve.open("/")
        eve.open(address)
        expect(eve.page.get_by_text("did not open")).to_be_visible()
        self.assertNotIn("for the family", eve.page.content())


class ConversationTests(InboxCase):
    """What a person does with conversations."""

    @in_browser
    def test_search(self) -> None:
        """Words and names are found, and a click leads to the text."""
        self.start_box()
        for number in range(5):
            self.receive(ANN, f"talk number {number}")
        self.receive(BOB, "the needle in the haystack")
        window = self.logged_in()
        page = window.page
        expect(row(page, "needle")).to_be_visible()

        page.keyboard.press("/")
        page.keyboard.type("needl")
        found = page.get_by_role("link", name=re.compile("the needle in the haystack"))
        expect(found).to_be_visible()
        found.click()

        expect(bubble(page, "the needle in the haystack")).to_be_visible()

    @in_browser
    def test_delete_and_undo(self) -> None:
        """A text, and a whole conversation, are gone and come back."""
        self.start_box()
        self.receive(ANN, "keep me")
        self.receive(ANN, "delete me")
        window = self.logged_in()
        page = window.page
        row(page, "delete me").click()
        bubble(page, "delete me").get_by_text("delete me").click(button="right")
        page.get_by_role("menuitem", name="Delete").click()
        expect(bubble(page, "delete me")).to_have_count(0)
        window.button("Undo").click()
        expect(bubble(page, "delete me")).to_be_visible()

        choose(page, "More for this conversation", "Delete")
        expect(page.get_by_text("No conversations yet")).to_be_visible()
        window.button("Undo").click()

        expect(row(page, "delete me")).to_be_visible()
        row(page, "delete me").click()
        expect(bubble(page, "keep me")).to_be_visible()

    @in_browser
    def test_blocked_number_is_not_heard(self) -> None:
        """Its texts wait in their folder; unblocked it is heard again."""
        self.start_box()
        self.receive(ANN, "buy now")
        window = self.logged_in()
        page = window.page
        row(page, "buy now").click()
        choose(page, "More for this conversation", "Block the number")
        page.get_by_role("dialog").get_by_role("button", name="Block").click()
        expect(page.get_by_text("You blocked this number")).to_be_visible()

        self.receive(ANN, "buy more")
        window.open("/#/")
        expect(row(page, "buy")).to_have_count(0)
        mari = self.logged_in("mari")
        expect(row(mari.page, "buy more")).to_be_visible()

        window.open("/#/settings")
        window.button(f"Unblock {ANN_SHOWN}").click()
        window.open("/#/")
        expect(row(page, "buy more")).to_be_visible()

    @in_browser
    def test_draft_survives(self) -> None:
        """What was begun is there after a reload, and in another browser of the same person."""
        self.start_box()
        self.receive(ANN, "answer me")
        window = self.logged_in()
        page = window.page
        row(page, "answer me").click()
        write(page, "dear Ann, ")
        page.reload()
        field = page.get_by_role("textbox", name="Text", exact=True)
        expect(field).to_have_value("dear Ann, ")
        window.open("/#/")
        expect(row(page, "dear Ann")).to_contain_text("Draft")

        other = self.logged_in()
        expect(row(other.page, "dear Ann")).to_be_visible()
        row(other.page, "dear Ann").click()

        expect(other.page.get_by_role("textbox", name="Text", exact=True)).to_have_value(
            "dear Ann, "
        )

    @in_browser
    def test_archived_until_the_next_text(self) -> None:
        """Put away it leaves the inbox; a new text brings it back."""
        self.start_box()
        self.receive(ANN, "done with")
        window = self.logged_in()
        page = window.page
        row(page, "done with").click()
        choose(page, "More for this conversation", "Archive")
        expect(row(page, "done with")).to_have_count(0)
        choose(page, "Folder: Inbox", "Archived")
        expect(row(page, "done with")).to_be_visible()
        choose(page, "Folder: Archived", "Inbox")
        expect(page.get_by_text("No conversations yet")).to_be_visible()

        self.receive(ANN, "not yet")

        expect(row(page, "not yet")).to_be_visible()

    @in_browser
    def test_keyboard_alone(self) -> None:
        """A text is written, sent and found again without a mouse."""
        self.start_box()
        self.receive(BOB, "an older one")
        window = self.logged_in()
        page = window.page
        expect(row(page, "an older one")).to_be_visible()
        keys = page.keyboard

        keys.press("n")
        expect(page.get_by_label("To", exact=True)).to_be_focused()
        keys.type(ANN)
        keys.press("Enter")
        keys.press("Enter")  # nobody else
        expect(page.get_by_role("textbox", name=re.compile("^Text"))).to_be_focused()
        keys.type("by keyboard")
        keys.press("Enter")
        expect(bubble(page, "by keyboard")).to_contain_text("Delivered")

        keys.press("Escape")
        keys.press("Escape")
        keys.press("ArrowDown")
        expect(row(page, "by keyboard")).to_be_focused()
        keys.press("ArrowDown")
        expect(row(page, "an older one")).to_be_focused()
        keys.press("Enter")
        expect(bubble(page, "an older one")).to_be_visible()
        keys.press("Escape")
        keys.press("Shift+?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()

    @in_browser
    def test_two_tabs(self) -> None:
        """What is done in one is seen in the other, over one connection."""
        self.start_box()
        window = self.logged_in()
        other = window.tab()
        window.open("/", other)
        new_text(window.page, ANN)
        write(window.page, "from the first tab", send=True)

        expect(row(other, "from the first tab")).to_be_visible()
        self.receive(ANN, "to both")
        for page in (window.page, other):
            expect(row(page, "to both")).to_be_visible()

    @in_browser
    def test_daemon_restarts_in_mid_use(self) -> None:
        """What is written meanwhile goes out afterwards, and what came is shown; once each."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "before", send=True)
        expect(bubble(page, "before")).to_contain_text("Delivered")

        with window.outage():
            in_reactor(self.daemon.stop)
            write(page, "meanwhile", send=True)
            expect(bubble(page, "meanwhile")).to_contain_text(re.compile("Waiting|Sending"))
            in_reactor(self.daemon.start)
            self.receive(ANN, "after")
            expect(bubble(page, "after")).to_be_visible(timeout=20_000)
            expect(bubble(page, "meanwhile")).to_contain_text("Delivered", timeout=20_000)

        self.assertEqual([each.text for each in box.box.journal.radiated], ["before", "meanwhile"])
        expect(bubble(page, "meanwhile")).to_have_count(1)


class PhoneTests(InboxCase):
    """A small screen."""

    @in_browser
    def test_one_column_with_back(self) -> None:
        """List, thread, and back; nothing wider than the screen."""
        self.start_box()
        self.receive(ANN, "hello phone")
        window = self.logged_in(size=PHONE, has_touch=True, is_mobile=True)
        page = window.page
        row(page, "hello phone").tap()
        expect(bubble(page, "hello phone")).to_be_visible()
        expect(row(page, "hello phone")).to_be_hidden()
        write(page, "hello back", send=True)
        expect(bubble(page, "hello back")).to_contain_text("Delivered")

        window.button("Back to the conversations").tap()

        expect(row(page, "hello back")).to_be_visible()
        for path in ("/#/", "/#/contacts", "/#/lines", "/#/settings", "/#/operator"):
            window.open(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), PHONE[0])

    @in_browser
    def test_opens_offline_with_what_it_has(self) -> None:
        """The service worker brings the page and the last conversations."""
        self.start_box()
        self.receive(ANN, "remember this")
        window = self.logged_in(size=PHONE)
        page = window.page
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        row(page, "remember this").click()
        expect(bubble(page, "remember this")).to_be_visible()
        page.wait_for_timeout(500)

        with window.outage():
            in_reactor(self.daemon.stop)
            window.open("/")
            expect(row(page, "remember this")).to_be_visible()
            row(page, "remember this").click()
            expect(bubble(page, "remember this")).to_be_visible()

    @in_browser
    def test_written_without_a_network(self) -> None:
        """It waits in the browser, also over a reload, and goes out once."""
        box = self.start_box()
        window = self.logged_in()
        page = window.page
        new_text(page, ANN)
        write(page, "first", send=True)
        expect(bubble(page, "first")).to_contain_text("Delivered")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        expect(bubble(page, "first")).to_be_visible()

        with window.outage():
            window.context.set_offline(True)
            write(page, "from the tunnel", send=True)
            expect(bubble(page, "from the tunnel")).to_contain_text("Waiting")
            page.reload()
            expect(bubble(page, "from the tunnel")).to_contain_text("Waiting")
            window.context.set_offline(False)
            expect(bubble(page, "from the tunnel")).to_contain_text("Delivered", timeout=30_000)

        expect(bubble(page, "from the tunnel")).to_have_count(1)
        self.assertEqual(
            [each.text for each in box.box.journal.radiated], ["first", "from the tunnel"]
        )


class PageTests(InboxCase):
    """The other pages."""

    @in_browser
    def test_contacts(self) -> None:
        """A contact gives a conversation its name; cards come in from a file; a group is texted."""
        self.start_box()
        self.receive(ANN, "who am I")
        window = self.logged_in(path="/#/contacts")
        page = window.page
        window.button("Add the first one").click()
        dialog = page.get_by_role("dialog", name="Add contact")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_contain_text("Type a name.")
        dialog.get_by_label("Name", exact=True).fill("Ann Lee")
        dialog.get_by_label("Number 1", exact=True).fill("12")
        window.expect_trouble("^422 POST /api/v2.2/contacts$")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("number")
        dialog.get_by_label("Number 1", exact=True).fill("202 555 0123")
        dialog.get_by_label("Groups").fill("Family")
        dialog.get_by_label("Groups").press("Enter")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_role("button", name=re.compile("^Ann Lee"))).to_be_visible()

        card = Path(self.mktemp() + ".vcf")
        card.write_text(
            f"BEGIN:VCARD\nVERSION:3.0\nFN:Bob\nTEL:{BOB}\nCATEGORIES:family\nEND:VCARD\n",
            "utf-8",
        )
        window.button("More about contacts").click()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("menuitem", name="Import a vCard file").click()
        chooser.value.set_files(card)
        expect(page.get_by_role("dialog", name="Imported")).to_contain_text("1 contact added")
        window.button("OK").click()
        expect(window.button("@family (2)")).to_be_visible()

        window.open("/#/")
        expect(row(page, "Ann Lee")).to_contain_text("who am I")

    @in_browser
    def test_lines_and_ussd(self) -> None:
        """The state of the lines, and a code to the network."""
        self.start_box()
        window = self.logged_in(path="/#/lines")
        page = window.page
        expect(page.get_by_role("listitem", name="Line home")).to_contain_text("Ready")

        page.get_by_role("link", name="USSD on line home").click()
        page.get_by_role("textbox").first.fill("*100#")
        page.keyboard.press("Enter")

        expect(page.get_by_label("Dialogue with the network")).to_contain_text("Network: ")

    @in_browser
    def test_operators_pages(self) -> None:
        """The queue with what waits, where it is dropped; for operators alone."""
        window = self.logged_in()  # and no box: its line is away
        page = window.page
        new_text(page, ANN)
        write(page, "stuck", send=True)
        expect(bubble(page, "stuck")).to_contain_text("Waiting")

        window.open("/#/operator/queue")
        page.get_by_label(re.compile(f"^Text to {re.escape(ANN_SHOWN)}")).check()
        window.button("Drop (1)").click()
        page.get_by_role("dialog").get_by_role("button", name="Drop").click()
        expect(page.get_by_text("1 text is dropped")).to_be_visible()
        for tab in ("Status", "Links", "People", "Errors"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()
            self.assertEqual(window.faults(), [], tab)

        mari = self.logged_in("mari", path="/#/operator")
        expect(mari.page.get_by_text("For operators only")).to_be_visible()

    def _faults_of_all_pages(self, size: tuple[int, int], scheme: str) -> None:
        self.start_box()
        self.receive(ANN, "hello https://example.org and +12025550199")
        self.receive(BOB, "hello too")
        window = self.logged_in(size=size, scheme=scheme)
        page = window.page
        new_text(page, ANN)
        write(page, "hi", send=True)
        expect(bubble(page, "hi").last).to_contain_text("Delivered")
        thread = page.url.removeprefix(self.base)
        faults: dict[str, list[str]] = {}
        for path in (
            "/#/",
            thread,
            "/#/new",
            "/#/search?q=hello",
            "/#/contacts",
            "/#/calls",
            "/#/lines",
            "/#/lines/home/ussd",
            "/#/settings",
            "/#/operator",
            "/#/operator/queue",
        ):
            window.open(path)
            expect(page.get_by_role("heading", level=1).first).to_be_visible()
            page.wait_for_timeout(150)  # what is loaded after the heading
            found = window.faults()
            if found:
                faults[path] = found
        self.assertEqual(faults, {})

    @in_browser
    def test_no_grave_fault_in_the_light(self) -> None:
        """Nothing keeps people with a screen reader or weak eyes from any page."""
        self._faults_of_all_pages(DESKTOP, "light")

    @in_browser
    def test_no_grave_fault_in_the_dark(self) -> None:
        """Nor in the dark."""
        self._faults_of_all_pages(DESKTOP, "dark")

    @in_browser
    def test_no_grave_fault_on_a_phone(self) -> None:
        """Nor on a small screen."""
        self._faults_of_all_pages(PHONE, "light")
