"""Tests of `smsbridge.provider.enclosures`: received texts with attachments."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from twisted.internet.defer import Deferred

from smsbridge.core.message import Media
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.provider.client import NoAnswer
from smsbridge.provider.dialect import Received, RemoteMedia, Response
from tests.provider.fakes import THEIRS, FakeDialect
from tests.provider.test_arrivals import ArrivalsTestCase, text

URL = "https://m.test/%d"
AWAY = TemporaryFailure("peer-down", "m.test does not answer.")
GONE = Refused("file-gone", "There is no file any more.", detail="HTTP 404")
STRANGER = Refused("not-permitted", "m.test does not hand out the file.", detail="HTTP 401")


def pictures(count: int = 1, **changes: Any) -> Received:
    """Return a text with pictures at `URL`."""
    media = tuple(RemoteMedia(url=URL % number) for number in range(count))
    return text(**({"media": media} | changes))


class EnclosuresTestCase(ArrivalsTestCase):
    """Has a made-up web."""

    def setUp(self) -> None:
        """Put two pictures into it."""
        super().setUp()
        self.files = self.inbound.files
        self.web = self.files.web
        for number in range(3):
            self.web[URL % number] = [(b"picture %d" % number, "image/png")]

    @property
    def got(self) -> list[tuple[str, list[str]]]:
        """The bodies of what was accepted, with the bytes of the attachments."""
        return [
            (message.body, [self.data(media) for media in message.media])
            for message in self.inbox.messages
        ]

    def data(self, media: Media) -> str:
        """Return what is in a file."""
        return (self.files.folder / media.digest).read_text()

    def notices(self) -> list[str]:
        """Return the sentences for the persons of the line."""
        self.assertLessEqual({person for person, _, _ in self.inbox.told}, {"john"})
        return [sentence for _, sentence, _ in self.inbox.told]


class FetchTests(EnclosuresTestCase):
    """When everything can be fetched."""

    def test_a_text_comes_with_its_pictures(self) -> None:
        """One message, and nothing is left in the notes."""
        self.assertTrue(self.take(pictures(2)))

        self.assertEqual(self.got, [(" hello ", ["picture 0", "picture 1"])])
        self.assertEqual(self.inbound.pending.keys, [])
        self.inbound.pass_time(60)
        self.assertEqual(len(self.inbox.messages), 1)
        self.assertTrue(all(fetch.received for fetch in self.files.fetched))

    def test_the_provider_is_answered_before_anything_is_fetched(self) -> None:
        """The promise is durable; a slow media host does not make the provider wait."""
        del self.web[URL % 0]

        self.assertTrue(self.take(pictures()))

        self.assertEqual(len(self.inbound.pending.keys), 1)
        self.assertEqual(self.inbox.messages, [])

    def test_a_repeat_is_neither_fetched_nor_kept_again(self) -> None:
        """While it is being fetched, and after it was accepted."""
        del self.web[URL % 0]
        self.assertEqual([self.take(pictures()), self.take(pictures())], [True, False])
        _, waiting = self.files.waiting[0]
        waiting.callback(self.files.kept(b"late", "image/png"))
        self.assertFalse(self.take(pictures()))
        self.inbound.restart()
        self.assertFalse(self.take(pictures()))

        self.assertEqual(len(self.files.fetched), 1)
        self.assertEqual(self.got, [(" hello ", ["late"])])

    def test_only_a_few_are_fetched_at_once(self) -> None:
        """Whoever sends many pictures does not use up all connections."""
        self.web.clear()
        for number in range(3):
            self.take(pictures(3, remote_id=f"t{number}"))
        self.assertEqual(len(self.files.waiting), 4)

        while any(not waiting.called for _, waiting in self.files.waiting):
            for _, waiting in list(self.files.waiting):
                if not waiting.called:
                    waiting.callback(self.files.kept(b"x", "image/png"))

        self.assertEqual(self.files.at_once, 4)
        self.assertEqual(len(self.inbox.messages), 3)

    def test_credentials_are_tried_one_after_another(self) -> None:
        """Without first, then with the key, where the host asks for it."""
        url = "https://api.provider.test/1"
        self.web[url] = [STRANGER, (b"secret", "image/png")]

        self.take(pictures(media=(RemoteMedia(url=url, name="a.png"),)))

        self.assertEqual(self.got, [(" hello ", ["secret"])])
        self.assertEqual(
            [fetch.headers for fetch in self.files.fetched],
            [{}, {"Authorization": "Bearer not-a-key"}],
        )
        self.assertEqual(self.files.fetched[0].name, "a.png")

    def test_the_operators_own_host_is_trusted(self) -> None:
        """``base_url`` may lead into a private network, and so may what is there."""
        self.inbound = type(self.inbound)(self.files.folder, base_url="http://127.0.0.1:8090")
        self.inbound.arrivals.start()
        self.inbound.files.web[URL % 0] = [(b"x", "image/png")]

        self.take(pictures())

        self.assertEqual(self.inbound.files.fetched[0].trusted, "http://127.0.0.1:8090")

    def test_presentations_are_dropped(self) -> None:
        """SMIL says how the parts are shown, which nobody wants; it is not even fetched."""
        self.web[URL % 3] = [(b"<smil>", "application/smil")]
        self.take(
            text(
                media=(
                    RemoteMedia(url="https://m.test/a.smil?x=1"),
                    RemoteMedia(url="https://m.test/b", content_type="application/smil; a=b"),
                    RemoteMedia(url="https://m.test/c", name="0.SMIL"),
                    RemoteMedia(url=URL % 3),
                    RemoteMedia(url=URL % 0),
                )
            )
        )

        self.assertEqual(self.got, [(" hello ", ["picture 0"])])
        self.assertEqual(len(self.files.fetched), 2)

    def test_plain_text_becomes_text(self) -> None:
        """Networks put the words of a picture message into a file."""
        self.web["https://m.test/t"] = [("grüße".encode("latin-1"), "text/plain")]
        self.web["https://m.test/u"] = [(b"mehr", "text/plain")]
        self.take(
            pictures(
                body="",
                media=(
                    RemoteMedia(url="https://m.test/t", content_type="text/plain; charset=latin-1"),
                    RemoteMedia(url="https://m.test/u"),
                    RemoteMedia(url=URL % 0),
                ),
            )
        )

        self.assertEqual(self.got, [("grüße\nmehr", ["picture 0"])])

    def test_text_that_is_said_already_is_not_said_twice(self) -> None:
        """Some providers put the same words into the body and a file."""
        self.web["https://m.test/t"] = [(b"hello\n", "text/plain")]
        self.take(pictures(media=(RemoteMedia(url="https://m.test/t"),)))

        self.assertEqual(self.got, [(" hello ", [])])

    def test_long_texts_and_other_files_stay_attachments(self) -> None:
        """What is announced as something else, or as long as a book, is a file."""
        self.web["https://m.test/t"] = [(b"x" * 70_000, "text/plain")]
        self.web["https://m.test/u"] = [(b"a,b", "text/plain")]
        self.take(
            pictures(
                media=(
                    RemoteMedia(url="https://m.test/t", content_type="text/plain"),
                    RemoteMedia(url="https://m.test/u", content_type="text/csv"),
                )
            )
        )

        self.assertEqual(self.got, [(" hello ", ["x" * 70_000, "a,b"])])

    def test_text_in_a_strange_charset_is_read_somehow(self) -> None:
        """No charset of a stranger's keeps a text from arriving."""
        for charset in ("rot13", "no-such", "utf-8", "hex"):
            with self.subTest(charset):
                self.web["https://m.test/t"] = [(b"gr\xfc\xdfe", "text/plain")]
                kind = f"text/plain; charset={charset}"
                media = (RemoteMedia(url="https://m.test/t", content_type=kind),)
                self.take(text(charset, body="", media=media))
                self.assertEqual(self.got[-1], ("grüße", []))

    def test_what_came_is_what_was_announced(self) -> None:
        """A file with another digest than the provider told is fetched again."""
        self.web[URL % 0] = [(b"cut off", "image/png"), (b"whole", "image/png")]
        digest = hashlib.sha256(b"whole").hexdigest()
        self.take(text(media=(RemoteMedia(url=URL % 0, sha256=digest.upper()),)))
        self.assertEqual(self.got, [])

        self.inbound.pass_time(3)

        self.assertEqual(self.got, [(" hello ", ["whole"])])

    def test_attachments_that_are_not_listed_are_asked_for(self) -> None:
        """The provider says that there are some, and where when it is asked."""
        listed = [{"url": URL % 0}, {"url": URL % 1}]
        self.inbound.answers = [
            NoAnswer("There is no answer."),
            Response(status=500),
            Response(status=200, body=json.dumps(listed).encode()),
        ]
        self.take(text(unlisted_media=True))
        self.inbound.pass_time(15)

        self.assertEqual(self.got, [(" hello ", ["picture 0", "picture 1"])])
        self.assertEqual(len(self.inbound.asked), 3)

    def test_a_provider_that_lists_nothing_has_nothing(self) -> None:
        """The text goes on as it is where nobody can be asked for more."""

        class Silent(FakeDialect):
            def media_list(self, received: Received) -> None:
                return None

        account = self.inbound.account
        silent: Any = Silent(self.inbound.config)
        account.replace(account.config, silent, account.lines)

        self.take(text(unlisted_media=True))

        self.assertEqual(self.got, [(" hello ", [])])
        self.assertEqual(self.notices(), [])

    def test_a_media_store_that_is_not_open_is_waited_for(self) -> None:
        """It opens with the rest of the daemon."""
        files, self.inbound.world.media = self.inbound.world.media, None
        self.take(pictures())
        self.assertEqual(self.got, [])
        self.inbound.world.media = files
        self.inbound.pass_time(3)

        self.assertEqual(self.got, [(" hello ", ["picture 0"])])

    def test_a_stop_with_a_picture_is_remembered(self) -> None:
        """The wish counts whatever comes along."""
        self.take(pictures(opt_out="stop"))

        self.assertTrue(self.inbound.opt_outs.is_out("main", THEIRS))

    def test_texts_without_an_id_are_taken(self) -> None:
        """Nothing recognizes their repeats, which is better than losing one."""
        self.take(pictures(remote_id=""))
        self.take(pictures(remote_id="", body="two"))

        self.assertEqual([body for body, _ in self.got], [" hello ", "two"])


class PatienceTests(EnclosuresTestCase):
    """When something cannot be fetched at once, or at all."""

    def test_is_tried_again_before_the_text_goes(self) -> None:
        """A hiccup of a few seconds is not seen by anybody."""
        self.web[URL % 0] = [AWAY, AWAY, (b"there", "image/png")]
        self.take(pictures())
        self.inbound.pass_time(13)

        self.assertEqual(self.got, [(" hello ", ["there"])])

    def test_the_text_does_not_wait_for_long(self) -> None:
        """After 20 seconds it goes ahead with what is there, and the rest follows."""
        self.web[URL % 1] = [AWAY, AWAY, AWAY, (b"late", "image/png")]
        self.take(pictures(2))
        self.inbound.pass_time(19)
        self.assertEqual(self.got, [])

        self.inbound.pass_time(2)
        self.assertEqual(self.got, [(" hello ", ["picture 0"])])
        self.inbound.pass_time(30)

        self.assertEqual(self.got[1:], [("", ["late"])])
        self.assertEqual(self.inbox.messages[1].sender, THEIRS)
        self.assertEqual(self.inbound.pending.keys, [])
        self.assertEqual(self.notices(), [])

    def test_a_slow_file_does_not_hold_up_the_text(self) -> None:
        """It need not fail: it is enough that it takes its time."""
        del self.web[URL % 0]
        self.take(pictures())
        self.inbound.pass_time(21)
        self.assertEqual(self.got, [(" hello ", [])])

        self.files.waiting[0][1].callback(self.files.kept(b"slow", "image/png"))

        self.assertEqual(self.got[1:], [("", ["slow"])])

    def test_a_picture_without_words_waits(self) -> None:
        """An empty message would tell nobody anything."""
        self.web[URL % 0] = [AWAY, AWAY, AWAY, (b"late", "image/png")]
        self.take(pictures(body=" "))
        self.inbound.pass_time(60)

        self.assertEqual(self.got, [(" ", ["late"])])

    def test_what_is_gone_is_told(self) -> None:
        """The text comes at once, with a sentence for the persons of the line."""
        self.web[URL % 0] = [GONE]
        self.take(pictures(2))

        self.assertEqual(self.got, [(" hello ", ["picture 1"])])
        (notice,) = self.notices()
        self.assertIn(THEIRS, notice)
        self.assertIn("no file any more", notice)
        self.assertEqual(len(self.files.fetched), 2)

    def test_refused_credentials_may_be_mended(self) -> None:
        """The operator sets the right ones, and the picture comes."""
        self.web[URL % 0] = [STRANGER] * 6 + [(b"mine", "image/png")]
        self.take(pictures())
        self.inbound.pass_time(21)
        self.inbound.pass_time(3600 * 2, lambda: 60)

        self.assertEqual(self.got, [(" hello ", []), ("", ["mine"])])
        self.assertEqual(self.notices(), [])

    def test_is_given_up_after_a_day(self) -> None:
        """Then the persons learn that something is missing."""
        self.web[URL % 1] = [AWAY]
        self.take(pictures(2))
        self.inbound.pass_time(23 * 3600, lambda: 60)
        self.assertEqual(self.notices(), [])

        self.inbound.pass_time(2 * 3600, lambda: 60)

        self.assertEqual(self.got, [(" hello ", ["picture 0"])])
        (notice,) = self.notices()
        self.assertIn("m.test does not answer", notice)
        self.assertEqual(self.inbound.pending.keys, [])
        self.assertLess(len(self.files.fetched), 40)

    def test_a_text_without_words_is_there_after_a_day(self) -> None:
        """The history has it, even though nothing of it could be fetched."""
        self.web[URL % 0] = [AWAY]
        self.take(pictures(body=""))
        self.inbound.pass_time(25 * 3600, lambda: 60)

        self.assertEqual(self.got, [("", [])])
        self.assertEqual(len(self.notices()), 1)

    def test_a_list_that_never_comes_is_told(self) -> None:
        """Nobody knows how many files it was, but that there was one."""
        self.take(text(unlisted_media=True))
        self.inbound.pass_time(25 * 3600, lambda: 60)

        self.assertEqual(self.got, [(" hello ", [])])
        self.assertIn("There is no answer.", self.notices()[0])

    def test_the_log_tells_a_failure_once(self) -> None:
        """And neither the address, which may be secret, nor the number."""
        self.web[URL % 0] = [AWAY]
        self.take(pictures())
        self.inbound.pass_time(200)

        (warning,) = self.warnings()
        said = warning["log_format"].format(**warning)
        self.assertNotIn(THEIRS, said)
        self.assertNotIn(URL % 0, said)

    def test_a_store_that_goes_away_is_waited_for(self) -> None:
        """What was fetched is accepted when it is back."""
        del self.web[URL % 0]
        self.take(pictures())
        self.inbound.away()
        self.files.waiting[0][1].callback(self.files.kept(b"x", "image/png"))
        self.inbound.pass_time(30)
        self.assertEqual(self.got, [])

        self.inbound.back()
        self.inbound.pass_time(60)

        self.assertEqual(self.got, [(" hello ", ["x"])])
        self.assertEqual(self.inbound.pending.keys, [])

    def test_a_text_that_could_not_go_ahead_goes_later(self) -> None:
        """The store was away just then."""
        del self.web[URL % 0]
        self.take(pictures())
        self.inbound.pass_time(10)
        self.inbound.away()
        self.inbound.pass_time(15)
        self.inbound.back()
        self.inbound.pass_time(10)

        self.assertEqual(self.got, [(" hello ", [])])

    def test_a_bug_leaves_the_text_in_the_store(self) -> None:
        """The next start tries again, and the log has the traceback."""
        self.web[URL % 0] = [RuntimeError("a bug")]
        self.take(pictures())
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(len(self.inbound.pending.keys), 1)

        self.web[URL % 0] = [(b"x", "image/png")]
        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["x"])])


class RestartTests(EnclosuresTestCase):
    """What the next process makes of it."""

    def test_goes_on_with_what_was_promised(self) -> None:
        """The text comes although the process that promised it died."""
        del self.web[URL % 0]
        self.take(pictures())
        self.web[URL % 0] = [(b"again", "image/png")]

        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["again"])])
        self.assertEqual(self.inbound.pending.keys, [])

    def test_the_day_goes_on(self) -> None:
        """The time until the text goes ahead and until it is given up began with the call."""
        self.web[URL % 0] = [AWAY]
        self.take(pictures())
        self.inbound.pass_time(15)
        self.inbound.restart()
        self.inbound.pass_time(6)
        self.assertEqual(self.got, [(" hello ", [])])

        self.inbound.arrivals.stop()
        self.inbound.clock.advance(25 * 3600)
        self.inbound.restart()

        self.assertEqual(len(self.notices()), 1)
        self.assertEqual(self.inbound.pending.keys, [])

    def test_what_went_ahead_does_not_come_twice(self) -> None:
        """The next process sends only what is missing, however often it dies."""
        self.web[URL % 1] = [AWAY]
        self.take(pictures(3))
        self.inbound.pass_time(21)
        self.inbound.restart()
        self.inbound.restart()
        self.web[URL % 1] = [(b"late", "image/png")]
        self.inbound.restart()
        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["picture 0", "picture 2"]), ("", ["late"])])

    def test_a_crash_between_note_and_text_loses_nothing(self) -> None:
        """The next process accepts exactly what was noted."""
        self.web[URL % 1] = [AWAY]
        self.take(pictures(2))
        accept = self.inbox.accept
        never: Deferred[Any] = Deferred()
        inbox: Any = self.inbox
        inbox.accept = lambda incoming: never
        self.inbound.pass_time(21)
        self.assertEqual(len(self.inbound.pending.keys), 2)
        inbox.accept = accept

        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["picture 0"])])

    def test_a_crash_before_the_end_is_cleaned_up(self) -> None:
        """A text that was accepted is not fetched again."""
        drop = type(self.inbound.pending).drop
        never: Deferred[None] = Deferred()
        type(self.inbound.pending).drop = lambda *_: never  # type: ignore[method-assign]
        try:
            self.take(pictures())
        finally:
            type(self.inbound.pending).drop = drop  # type: ignore[method-assign]
        self.assertEqual(len(self.inbound.pending.keys), 1)

        self.inbound.restart()

        self.assertEqual(len(self.files.fetched), 1)
        self.assertEqual(self.inbound.pending.keys, [])
        self.assertEqual(len(self.got), 1)

    def test_what_cannot_be_read_stays_where_it_is(self) -> None:
        """A newer version may have written it; the others go on."""
        del self.web[URL % 0]
        self.take(pictures())
        self.inbound.pending.keep("work", "media new", b'{"spoken": true}')
        self.web[URL % 0] = [(b"x", "image/png")]

        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["x"])])
        self.assertEqual(self.inbound.pending.keys, ["media new"])

    def test_a_line_that_is_gone_keeps_its_text(self) -> None:
        """It comes when the line is in the configuration again."""
        del self.web[URL % 0]
        self.take(pictures())
        account = self.inbound.account
        lines = dict(account.lines)
        account.replace(account.config, account.dialect, {})
        self.inbound.restart()
        self.assertEqual(len(self.inbound.pending.keys), 1)
        account.replace(account.config, account.dialect, lines)
        self.web[URL % 0] = [(b"x", "image/png")]

        self.inbound.restart()

        self.assertEqual(self.got, [(" hello ", ["x"])])

    def test_a_line_that_goes_meanwhile_keeps_its_text(self) -> None:
        """What the inbox does not take now stays in the store, whichever step it came to."""
        whole = [(" hello ", ["x"])]
        pieces = [(" hello ", []), ("", ["x"])]
        for seconds, wanted in ((0, whole), (21, pieces)):
            del self.web[URL % 0]
            self.take(pictures(1, remote_id=f"t{seconds}"))
            self.inbox.failure = Refused("unknown-line")
            self.inbound.pass_time(seconds)
            self.files.waiting[0][1].callback(self.files.kept(b"x", "image/png"))
            self.assertEqual(self.got, [])
            self.assertIn(f"media t{seconds}", self.inbound.pending.keys)
            self.inbox.failure = None
            self.web[URL % 0] = [(b"x", "image/png")]

            self.inbound.restart()

            self.assertEqual(self.got, wanted)
            self.inbox.messages.clear()

    def test_stopping_leaves_nothing_behind(self) -> None:
        """No timer and no fetch goes on; calls that still come are kept for the next start."""
        del self.web[URL % 0]
        self.web[URL % 1] = [AWAY]
        self.take(pictures(2))
        self.take(pictures(1, remote_id="t2"))
        stopping = self.inbound.arrivals.stop()
        self.successResultOf(stopping)

        self.assertTrue(self.take(pictures(1, remote_id="t3")))
        self.assertEqual(self.inbound.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.inbound.pending.keys), 3)
        self.assertEqual(self.got, [])

    def test_more_than_is_worked_on_at_once_waits_in_the_store(self) -> None:
        """Memory is bounded; what does not fit is taken up when there is room."""
        from smsbridge.provider import enclosures

        self.patch(enclosures, "_MOST_JOBS", 4)
        self.web.clear()
        for number in range(9):
            self.take(pictures(1, remote_id=f"t{number}"))
        for _ in range(20):
            for _, waiting in list(self.files.waiting):
                if not waiting.called:
                    waiting.callback(self.files.kept(b"x", "image/png"))

        self.assertEqual(len(self.got), 9)
        self.assertEqual(self.inbound.pending.keys, [])
