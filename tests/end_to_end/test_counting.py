"""The counter below the text field against the server: both say how many texts a text is."""

from __future__ import annotations

import random

from smsbridge.core.segments import Charset, Encoding, count
from tests.end_to_end.browser import in_browser
from tests.end_to_end.inbox import ANN, InboxCase

#: Letters of one place and of two in the GSM alphabet, of Unicode, and above U+FFFF.
POOLS = ("abc de", "abc[]€", "aé^ñ", "日本語 a", "😀a€", "a😀")
EDGES = (0, 1, 69, 70, 71, 134, 152, 153, 154, 159, 160, 161, 305, 306, 307)


def samples() -> list[str]:
    """Return texts around every limit, the same in every run."""
    chance = random.Random(20261121)
    made = [letter * length for letter in "a€日😀" for length in EDGES]
    for _ in range(400):
        pool = "".join(chance.sample(POOLS, chance.randint(1, 2)))
        made.append("".join(chance.choices(pool, k=chance.randint(0, 700))))
    return made


class CountingTests(InboxCase):
    """The counter."""

    @in_browser
    def test_page_counts_as_the_server_does(self) -> None:
        """Encoding, size, texts and what is left are the same for both alphabets."""
        window = self.logged_in()
        texts = samples()
        for charset in Charset:
            told = window.page.evaluate(
                """async ([texts, charset]) => {
                    const { count } = await import("/static/js/inbox/segments.js");
                    return texts.map((text) => {
                        const { encoding, units, segments, left } = count(text, charset);
                        return [encoding, units, segments, left];
                    });
                }""",
                [texts, charset.value],
            )
            for text, shown in zip(texts, told, strict=True):
                encoding, units, segments, left = count(text, charset)
                word = "gsm" if encoding is Encoding.GSM7 else "unicode"
                self.assertEqual(shown, [word, units, segments, left], (charset, text))

    @in_browser
    def test_preview_says_what_the_counter_says(self) -> None:
        """The field's counter and the server's preview agree on a long text."""
        window = self.logged_in()
        page = window.open(f"/#/new?to=%2B{ANN[1:]}")
        text = "Grüße aus Ελλάδα, " * 12

        page.get_by_role("textbox", name="Text").fill(text)

        answer = window.context.request.post(
            f"{self.base}/api/v2.2/messages?test=true",
            data={"data": {"type": "message", "attributes": {"to": ANN, "body": text}}},
            headers={"X-Requested-With": "smsbridge"},
        )
        preview = answer.json()["data"]["attributes"]
        counter = page.locator("#compose-count").inner_text()
        self.assertIn(f"{preview['parts']} texts", counter)
        self.assertEqual("Unicode" in counter, preview["encoding"] == "unicode")
