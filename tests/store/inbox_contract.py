"""What the store tells about conversations, whatever database it stands on; bound elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import text

from smsbridge.core.entries import Entry, MessageQuery, NewMessage
from smsbridge.core.message import Direction
from smsbridge.core.routing import conversation
from smsbridge.core.threads import (
    ConversationChange,
    ConversationQuery,
    SearchQuery,
    ThreadQuery,
    Viewer,
)
from smsbridge.store import database
from smsbridge.store.index import SearchIndex
from smsbridge.store.search import search_txn
from smsbridge.store.threads import StoredThreads, conversations_txn
from tests.store.contract import DAY, NOW, delivery, entry, message, new_id

OURS = "+12025550100"
PEER = "+12025550123"
OTHER = "+12025550124"
JOHN = Viewer("john", ("demo1",))
MARY = Viewer("mary", ("demo1", "demo2"))
ZOE = Viewer("zoe", ())
OUTWARD = Viewer("john", ("demo1",), internal=False)  # a token for a line


def received(
    sender: str = PEER, body: str = "hello", line: str = "demo1", **more: Any
) -> NewMessage:
    """Make a text that came in on a line."""
    values: dict[str, Any] = {
        "direction": Direction.IN,
        "line": line,
        "sender": sender,
        "recipients": (OURS,),
        "author": "",
        "body": body,
        "conversation": conversation(line, (sender,)),
        "origin": None,
        "origin_lane": "",
        **more,
    }
    return message(**values)


def wrote(to: str = PEER, body: str = "hi", line: str = "demo1", **more: Any) -> NewMessage:
    """Make a text that John wrote."""
    values: dict[str, Any] = {
        "recipients": (to,),
        "line": line,
        "body": body,
        "conversation": conversation(line, (to,)),
        **more,
    }
    return message(**values)


def between(author: str, *to: str, body: str = "lunch?") -> NewMessage:
    """Make a text from person to person."""
    return message(
        direction=Direction.INTERNAL,
        line="",
        sender=author,
        recipients=to,
        author=author,
        body=body,
        conversation=conversation("", (author, *to)),
    )


class InboxContract:
    """Bind with `MessageStoreContract`, which opens the store."""

    store: Any
    accept: Any
    folder: Path
    url: str
    database_url: Any

    @property
    def threads(self) -> StoredThreads:
        """Return the conversations of the store."""
        return StoredThreads(self.store)

    async def take(self, *of: NewMessage) -> list[str]:
        """Accept messages in one transaction; returns their ids."""
        entries: list[Entry] = [entry(each) for each in of]
        await self.accept(*entries)
        return [each.message_id for each in of]

    async def listed(self, viewer: Viewer = JOHN, **more: Any) -> list[str]:
        """Return the names of a viewer's conversations."""
        found = await self.threads.conversations(ConversationQuery(viewer=viewer, **more))
        return [each.conversation for each in found]

    async def only_one(self, viewer: Viewer = JOHN, **more: Any) -> Any:
        """Return the viewer's only conversation."""
        (found,) = await self.threads.conversations(ConversationQuery(viewer=viewer, **more))
        return found

    async def page(self, name: str, viewer: Viewer = JOHN, **more: Any) -> tuple[list[str], Any]:
        """Return the ids of a page of a thread, and whether there is more before and after."""
        found = await self.threads.thread(ThreadQuery(viewer=viewer, conversation=name, **more))
        return [each.message_id for each in found.messages], (found.has_older, found.has_newer)

    async def found(self, words: str, viewer: Viewer = JOHN, **more: Any) -> list[str]:
        """Return the bodies of what a search finds."""
        texts = await self.threads.search(SearchQuery(viewer=viewer, words=words, **more))
        return [each.body for each in texts]

    async def test_lists_conversations_newest_first(self) -> None:
        """Each conversation is there once, with its newest text, those of other lines are not."""
        _, second, third, _ = await self.take(
            received(), received(OTHER), wrote(body="ok"), received(PEER, line="demo2")
        )

        found = await self.threads.conversations(ConversationQuery(viewer=JOHN))

        self.assertEqual(
            [(c.parties, c.line) for c in found], [((PEER,), "demo1"), ((OTHER,), "demo1")]
        )
        self.assertEqual([c.last.message_id for c in found], [third, second])
        self.assertEqual([c.unread for c in found], [1, 1])
        self.assertEqual(found[0].last.body, "ok")
        self.assertEqual(len(await self.listed(MARY)), 3)
        self.assertEqual(len(await self.listed(MARY, line="demo2")), 1)
        self.assertEqual(await self.listed(JOHN, line="demo2"), [])
        self.assertEqual(await self.listed(ZOE), [])
        self.assertEqual(await self.listed(Viewer("", ())), [])

    async def test_pages_of_conversations_follow_each_other(self) -> None:
        """The pages have every conversation once, also over several lines."""
        of = [received(f"+1202555{n:04d}", line=f"demo{n % 2 + 1}") for n in range(100, 123)]
        await self.take(*of)

        seen: list[str] = []
        before = ""
        while page := await self.threads.conversations(
            ConversationQuery(viewer=MARY, limit=5, before_id=before)
        ):
            seen.extend(c.conversation for c in page)
            before = page[-1].last.message_id

        self.assertEqual(seen, [m.conversation for m in reversed(of)])

    async def test_many_lines_are_read_as_one_list(self) -> None:
        """A viewer with more lines than one statement asks for gets the newest of all."""
        lines = tuple(f"l{n}" for n in range(40))
        of = [received(line=lines[n % 40]) for n in range(80)]
        await self.take(*of)

        found = await self.listed(Viewer("john", lines), limit=7)

        self.assertEqual(found, [m.conversation for m in of[:-8:-1]])

    async def test_groups_and_persons_are_conversations(self) -> None:
        """A group text has all others as parties; texts between persons are theirs alone."""
        group = received(
            recipients=(OURS, OTHER), conversation=conversation("demo1", (PEER, OTHER))
        )
        answer = wrote(recipients=(PEER, OTHER), conversation=group.conversation)
        await self.take(group, between("john", "mary"), between("mary", "john"), answer)

        found = await self.threads.conversations(ConversationQuery(viewer=JOHN))

        self.assertEqual([c.parties for c in found], [("john", "mary"), (PEER, OTHER)])
        self.assertEqual([c.unread for c in found], [1, 1])
        self.assertEqual(await self.listed(ZOE), [])
        self.assertEqual(len(await self.listed(Viewer("mary", ()))), 1)
        self.assertEqual(await self.listed(parties=("mary",)), ["|john,mary"])

    async def test_what_persons_write_to_each_other_can_be_kept_away(self) -> None:
        """A viewer for lines alone finds, counts, reads and changes nothing of it."""
        inside, line = between("mary", "john", body="lunch?"), received(body="lunch too?")
        earlier = between("mary", "john")
        await self.take(earlier, inside, line)
        name = inside.conversation

        for more in ({}, {"folder": "all"}, {"folder": "unread"}, {"parties": ("mary", PEER)}):
            self.assertEqual(await self.listed(OUTWARD, **more), [line.conversation], more)
        self.assertEqual(await self.listed(OUTWARD, conversations=(name,)), [])
        self.assertEqual(await self.threads.unread(OUTWARD), 1)
        self.assertEqual(await self.threads.unread(JOHN), 2)
        self.assertEqual(await self.page(name, OUTWARD), ([], (False, False)))
        self.assertEqual(await self.found("lunch", OUTWARD), ["lunch too?"])
        self.assertEqual(await self.found("lunch", OUTWARD, conversation=name), [])
        self.assertEqual(await self.found("nothing", OUTWARD, parties=("mary",)), [])
        seen = await self.threads.seen_by(OUTWARD, [inside.message_id, line.message_id])
        self.assertEqual([each.message_id for each in seen], [line.message_id])
        change = ConversationChange(archived=True)
        self.assertFalse(await self.threads.change(OUTWARD, name, change, NOW))
        self.assertEqual(await self.threads.hide_messages(OUTWARD, [inside.message_id], NOW), 0)
        self.assertEqual(await self.threads.hide_conversation(OUTWARD, name, NOW), "")

        # What the person put away or deleted does not bring it back either.
        await self.threads.hide_messages(JOHN, [inside.message_id], NOW)
        self.assertEqual(await self.listed(OUTWARD), [line.conversation])
        self.assertEqual(await self.threads.unread(OUTWARD), 1)
        await self.threads.change(JOHN, name, change, NOW)
        self.assertEqual(await self.listed(JOHN, folder="archived"), [name])
        self.assertEqual(await self.listed(OUTWARD, folder="archived"), [])
        nowhere = Viewer("john", (), internal=False)
        self.assertEqual(await self.listed(nowhere), [])
        self.assertEqual(await self.listed(nowhere, folder="archived"), [])
        self.assertEqual(await self.threads.unread(nowhere), 0)
        self.assertEqual(await self.found("lunch", nowhere), [])

    async def test_long_groups_keep_their_parties(self) -> None:
        """Where the name is only a digest, the parties are those of the text."""
        numbers = tuple(f"+1202555{n:04d}" for n in range(100, 150))
        name = conversation("demo1", numbers)
        await self.take(wrote(recipients=numbers, conversation=name))

        self.assertEqual((await self.only_one()).parties, numbers)
        self.assertEqual(await self.listed(parties=(numbers[7],)), [name])

    async def test_a_group_whose_line_knows_no_number_keeps_all_parties(self) -> None:
        """Nothing is taken for our own number that is not."""
        await self.take(
            received(
                recipients=(OTHER, "+12025550177"),
                conversation=conversation("demo1", (PEER, OTHER, "+12025550177")),
            )
        )

        self.assertEqual((await self.only_one()).parties, (PEER, OTHER, "+12025550177"))

    async def test_a_withheld_number_is_nobody(self) -> None:
        """Texts without a sender are a conversation without parties."""
        await self.take(received(""))

        self.assertEqual((await self.only_one()).parties, ())

    async def test_a_thread_pages_both_ways(self) -> None:
        """Texts come oldest first, from the end, before, after and around one of them."""
        ids = await self.take(*(received(body=f"text {n}") for n in range(10)))
        name = f"demo1|{PEER}"

        self.assertEqual(await self.page(name, limit=4), (ids[6:], (True, False)))
        self.assertEqual(await self.page(name, before_id=ids[6], limit=4), (ids[2:6], (True, True)))
        self.assertEqual(await self.page(name, before_id=ids[2], limit=4), (ids[:2], (False, True)))
        self.assertEqual(await self.page(name, after_id=ids[2], limit=4), (ids[3:7], (True, True)))
        self.assertEqual(await self.page(name, after_id=ids[7], limit=4), (ids[8:], (True, False)))
        self.assertEqual(await self.page(name, around_id=ids[5], limit=4), (ids[4:8], (True, True)))
        self.assertEqual(await self.page(name, around_id=ids[0], limit=4), (ids[:3], (False, True)))
        self.assertEqual(await self.page(name, after_id=ids[9], limit=4), ([], (True, False)))
        self.assertEqual(await self.page(name, limit=50), (ids, (False, False)))

    async def test_a_foreign_thread_is_empty(self) -> None:
        """Nothing of another's conversation is told, not even that there is one."""
        ids = await self.take(received(line="demo2"), between("mary", "zoe"))

        for name in (f"demo2|{PEER}", "|mary,zoe", "no such", ""):
            self.assertEqual(await self.page(name), ([], (False, False)))
            self.assertFalse(
                await self.threads.change(JOHN, name, ConversationChange(muted=True), NOW)
            )
            self.assertEqual(await self.threads.hide_conversation(JOHN, name, NOW), "")
            self.assertFalse(await self.threads.show_conversation(JOHN, name, f"{ids[0]}/"))
        self.assertEqual(await self.threads.seen_by(JOHN, ids), [])
        self.assertEqual(await self.threads.hide_messages(JOHN, ids, NOW), 0)
        self.assertEqual(await self.threads.show_messages(JOHN, ids), 0)
        self.assertEqual(await self.found("hello"), [])
        self.assertEqual(await self.found("lunch"), [])
        self.assertEqual(len(await self.threads.seen_by(MARY, ids)), 2)

    async def test_counts_unread_texts_of_others(self) -> None:
        """What was seen, what the viewer hid and what somebody sent does not count."""
        ids = await self.take(*(received() for _ in range(5)), wrote())
        name = f"demo1|{PEER}"

        await self.threads.change(JOHN, name, ConversationChange(read_id=ids[1]), NOW)
        await self.threads.hide_messages(JOHN, [ids[2]], NOW)

        self.assertEqual((await self.only_one()).unread, 2)
        self.assertEqual((await self.only_one(MARY)).unread, 5)
        self.assertEqual(await self.threads.unread(JOHN), 1)
        await self.threads.change(JOHN, name, ConversationChange(read_id="g"), NOW)
        self.assertEqual((await self.only_one()).unread, 0)
        self.assertEqual((await self.only_one()).read_id, ids[5])
        self.assertEqual(await self.threads.unread(JOHN), 0)
        self.assertEqual(await self.listed(folder="unread"), [])
        await self.threads.change(JOHN, name, ConversationChange(read_id=ids[3]), NOW)
        self.assertEqual(await self.listed(folder="unread"), [name])

    async def test_unread_counts_end_somewhere(self) -> None:
        """More than the interface shows is not counted."""
        await self.take(*(received() for _ in range(120)))

        self.assertEqual((await self.only_one()).unread, 100)

    async def test_between_persons_the_own_texts_are_read(self) -> None:
        """The author of a text to another person has nothing to read."""
        await self.take(between("john", "mary"))

        self.assertEqual((await self.only_one()).unread, 0)
        self.assertEqual((await self.only_one(MARY)).unread, 1)
        self.assertEqual(await self.threads.unread(JOHN), 0)

    async def test_archived_until_the_next_text(self) -> None:
        """An archived conversation comes back by itself, for whoever archived it."""
        await self.take(received(), received(OTHER))
        name = f"demo1|{PEER}"
        await self.threads.change(JOHN, name, ConversationChange(archived=True), NOW)

        self.assertEqual(await self.listed(), [f"demo1|{OTHER}"])
        self.assertEqual(await self.listed(folder="archived"), [name])
        self.assertEqual(len(await self.listed(folder="all")), 2)
        self.assertEqual(len(await self.listed(MARY)), 2)
        self.assertEqual(await self.listed(ZOE, folder="archived"), [])
        self.assertTrue((await self.only_one(folder="archived")).archived)
        self.assertEqual(await self.listed(folder="unread"), [f"demo1|{OTHER}"])
        await self.take(received())
        self.assertEqual(await self.listed(), [name, f"demo1|{OTHER}"])
        self.assertEqual(await self.listed(folder="archived"), [])

    async def test_archived_pages_and_comes_back_by_hand(self) -> None:
        """The archive has pages too, and what is taken out of it is in the list again."""
        of = [received(f"+1202555{n:04d}") for n in range(100, 107)]
        await self.take(*of)
        for each in of:
            change = ConversationChange(archived=True)
            await self.threads.change(JOHN, each.conversation, change, NOW)

        newest = await self.listed(folder="archived", limit=3)
        older = await self.listed(folder="archived", limit=9, before_id=of[4].message_id)

        self.assertEqual(newest + older, [each.conversation for each in reversed(of)])
        change = ConversationChange(archived=False)
        await self.threads.change(JOHN, of[2].conversation, change, NOW)
        self.assertEqual(await self.listed(), [of[2].conversation])

    async def test_blocked_numbers_stand_apart(self) -> None:
        """A blocked number's own conversation leaves the list; a group with it stays."""
        group = received(
            recipients=(OURS, OTHER), conversation=conversation("demo1", (PEER, OTHER))
        )
        await self.take(received(), received(OTHER), group)
        john = Viewer("john", ("demo1",), frozenset({PEER}))

        self.assertEqual(await self.listed(john), [f"demo1|{OTHER}", group.conversation])
        self.assertEqual(await self.listed(john, folder="blocked"), [f"demo1|{PEER}"])
        self.assertEqual(len(await self.listed(john, folder="all")), 3)
        self.assertEqual(await self.threads.unread(john), 2)

    async def test_mute_and_draft_are_kept(self) -> None:
        """What is half written stays until it is sent; muted texts do not count."""
        await self.take(received())
        name = f"demo1|{PEER}"

        await self.threads.change(JOHN, name, ConversationChange(muted=True, draft="dear\n😀"), NOW)
        await self.threads.change(JOHN, name, ConversationChange(draft="dear A"), NOW)

        one = await self.only_one()
        self.assertEqual((one.muted, one.draft, one.unread), (True, "dear A", 1))
        self.assertEqual(await self.threads.unread(JOHN), 0)
        self.assertEqual((await self.only_one(MARY)).draft, "")

    async def test_hidden_texts_are_gone_for_one_person(self) -> None:
        """A deleted text is nowhere for who deleted it, there for others, and can come back."""
        ids = await self.take(received(body="one"), received(body="two"), received(body="three"))
        name = f"demo1|{PEER}"

        count = await self.threads.hide_messages(JOHN, [ids[2], ids[1], ids[2], "no-such"], NOW)
        again = await self.threads.hide_messages(JOHN, [ids[2]], NOW)

        self.assertEqual((count, again), (2, 0))
        self.assertEqual((await self.only_one()).last.message_id, ids[0])
        self.assertEqual((await self.only_one()).unread, 1)
        self.assertEqual(await self.page(name), (ids[:1], (False, False)))
        self.assertEqual([m.message_id for m in await self.threads.seen_by(JOHN, ids)], ids[:1])
        self.assertEqual(await self.found("two"), [])
        self.assertEqual((await self.only_one(MARY)).last.message_id, ids[2])
        self.assertEqual(await self.threads.show_messages(JOHN, ids), 2)
        self.assertEqual((await self.only_one()).last.message_id, ids[2])
        self.assertEqual(await self.found("two"), ["two"])

    async def test_a_conversation_with_a_hidden_end_keeps_its_place(self) -> None:
        """Its place is that of the newest text that is left, on whatever page that is."""
        a1, _, b, _, a2 = await self.take(
            received("+12025550101"),
            received("+12025550102"),
            received("+12025550103"),
            received("+12025550104"),
            received("+12025550101"),
        )
        await self.threads.hide_messages(JOHN, [a2], NOW)

        first = await self.listed(limit=2)
        second = await self.listed(limit=9, before_id=b)

        self.assertEqual(first, ["demo1|+12025550104", "demo1|+12025550103"])
        self.assertEqual(second, ["demo1|+12025550102", "demo1|+12025550101"])
        await self.take(received("+12025550101"))
        self.assertEqual((await self.listed(limit=1)), ["demo1|+12025550101"])
        await self.threads.hide_messages(JOHN, [a1], NOW)
        self.assertEqual(len(await self.listed()), 4)

    async def test_a_conversation_without_a_text_left_is_not_listed(self) -> None:
        """When every text of it is hidden one by one, it is gone too, and comes back with them."""
        ids = await self.take(received(), received())
        for message_id in ids:
            await self.threads.hide_messages(JOHN, [message_id], NOW)

        self.assertEqual(await self.listed(folder="all"), [])
        self.assertEqual(await self.threads.unread(JOHN), 0)
        await self.threads.show_messages(JOHN, ids[:1])
        self.assertEqual((await self.only_one()).last.message_id, ids[0])

    async def test_a_hidden_conversation_comes_back_with_the_next_text(self) -> None:
        """Deleting hides what there is now; the undo shows it, also after new texts."""
        ids = await self.take(received(), received())
        name = f"demo1|{PEER}"

        undo = await self.threads.hide_conversation(JOHN, name, NOW)

        self.assertEqual(await self.listed(folder="all"), [])
        self.assertEqual(await self.page(name), ([], (False, False)))
        self.assertEqual(await self.found("hello"), [])
        self.assertEqual(len(await self.listed(MARY)), 1)
        self.assertEqual(await self.threads.hide_conversation(JOHN, name, NOW), "")
        (new,) = await self.take(received())
        self.assertEqual(await self.page(name), ([new], (False, False)))
        self.assertEqual((await self.only_one()).unread, 1)
        self.assertEqual([m.message_id for m in await self.threads.seen_by(JOHN, ids)], [])
        self.assertFalse(await self.threads.show_conversation(JOHN, name, "nonsense"))
        self.assertTrue(await self.threads.show_conversation(JOHN, name, undo))
        self.assertEqual((await self.page(name))[0], [*ids, new])
        self.assertFalse(await self.threads.show_conversation(JOHN, name, undo))

    async def test_hiding_the_end_after_hiding_all_before(self) -> None:
        """Both ways of deleting together leave nothing, and each comes back by its own undo."""
        ids = await self.take(received())
        name = f"demo1|{PEER}"
        undo = await self.threads.hide_conversation(JOHN, name, NOW)
        ids += await self.take(received())
        await self.threads.hide_messages(JOHN, ids[1:], NOW)

        self.assertEqual(await self.listed(), [])
        await self.threads.show_conversation(JOHN, name, undo)
        self.assertEqual((await self.only_one()).last.message_id, ids[0])

    async def test_lists_conversations_by_name_and_number(self) -> None:
        """Conversations are found by name, by party and by a part of a number."""
        await self.take(received(), received(OTHER), received("+13035550177"), received("100%"))
        name = f"demo1|{PEER}"

        self.assertEqual(await self.listed(conversations=(name, "no such")), [name])
        self.assertEqual(await self.listed(ZOE, conversations=(name,)), [])
        self.assertEqual(await self.listed(parties=(PEER,)), [name])
        self.assertEqual(len(await self.listed(parties=(PEER, OTHER, "+19995550100"))), 2)
        self.assertEqual(await self.listed(part="3035550"), ["demo1|+13035550177"])
        self.assertEqual(await self.listed(part="%"), ["demo1|100%"])
        self.assertEqual(len(await self.listed(part="303", parties=(OTHER,))), 2)
        self.assertEqual(await self.listed(part="777"), [])

    async def test_finds_words(self) -> None:
        """Words are found by their beginning, in any order, without regard to case and accents."""
        await self.take(
            received(body="Train to Zürich at 8:15"),
            received(OTHER, body="the TRAINING starts in Zurich"),
            wrote(body="no train today"),
            received(line="demo2", body="train on demo2"),
        )

        self.assertEqual(
            await self.found("train"),
            ["no train today", "the TRAINING starts in Zurich", "Train to Zürich at 8:15"],
        )
        self.assertEqual(len(await self.found("ZÜRICH train")), 2)
        self.assertEqual(await self.found("zuri 8"), ["Train to Zürich at 8:15"])
        self.assertEqual(await self.found("rain"), [])
        self.assertEqual(await self.found("train bus"), [])
        self.assertEqual(len(await self.found("train", MARY)), 4)
        self.assertEqual(await self.found("train", MARY, line="demo2"), ["train on demo2"])
        self.assertEqual(
            await self.found("train", conversation=f"demo1|{OTHER}"),
            ["the TRAINING starts in Zurich"],
        )
        self.assertEqual(await self.found("train", ZOE), [])

    async def indexed(self) -> None:
        """Bring the index of words up to date; only SQLite's needs it."""
        if self.url != "sqlite":
            return
        index = SearchIndex()
        while await self.store.write(index, None):
            pass

    async def test_finds_what_is_old(self) -> None:
        """Words are found however many texts came after them, in the same way as in new ones."""
        old = [
            received(body="Wir treffen uns in Zürich"),
            received(OTHER, body="zurich IS far, snake_case too"),
            received(line="demo2", body="zurich on another line"),
            between("mary", "zoe", body="zurich is ours"),
            between("john", "mary", body="zürich, lunch at 8?"),
            received(OTHER, body="我们明天见 in Zürich"),
        ]
        later = [received("+12025550199", body=f"train number {n}") for n in range(150)]
        await self.take(*old, *later)
        await self.indexed()
        # With so many lines only the newest hundred texts of each are looked through at first.
        john = Viewer("john", ("demo1", *(f"none{n}" for n in range(40))))

        self.assertEqual(
            await self.found("zurich", john), [old[5].body, old[4].body, old[1].body, old[0].body]
        )
        self.assertEqual(await self.found("zür treff", john), [old[0].body])
        self.assertEqual(await self.found("zurich 8 at", john), [old[4].body])
        self.assertEqual(await self.found("case", john), [old[1].body])
        self.assertEqual(await self.found("明天", john), [old[5].body])
        self.assertEqual(await self.found("urich", john), [])
        self.assertEqual(await self.found("zurich", john, line="demo2"), [])
        self.assertEqual(
            await self.found("zurich", john, conversation=f"demo1|{OTHER}"),
            [old[5].body, old[1].body],
        )
        self.assertEqual(await self.found("zurich", john, conversation=f"demo2|{PEER}"), [])
        self.assertEqual(await self.found("zurich", john, limit=1), [old[5].body])
        self.assertEqual(
            await self.found("zurich", john, before_id=old[4].message_id),
            [old[1].body, old[0].body],
        )
        await self.threads.hide_messages(john, [old[1].message_id], NOW)
        await self.threads.hide_conversation(john, f"demo1|{PEER}", NOW)
        self.assertEqual(await self.found("zurich", john), [old[5].body, old[4].body])

    async def test_pages_of_a_search_have_everything_once(self) -> None:
        """What is looked through and what comes from the index fit together."""
        of = [received(body=f"train {n}", line=f"demo{n % 3 + 1}") for n in range(700)]
        await self.take(*of)
        await self.indexed()
        viewer = Viewer("john", ("demo1", "demo3", *(f"none{n}" for n in range(40))))

        seen: list[str] = []
        before = ""
        while page := await self.threads.search(
            SearchQuery(viewer=viewer, words="train", before_id=before, limit=90)
        ):
            seen.extend(each.message_id for each in page)
            before = page[-1].message_id

        wanted = [each.message_id for each in reversed(of) if each.line != "demo2"]
        self.assertEqual(seen, wanted)

    async def test_finds_numbers(self) -> None:
        """Digits find the texts of whose number they are in, and names find those of theirs."""
        await self.take(
            received("+13035550177", body="from Denver"),
            received(OTHER, body="call 303 555"),
            wrote("+13035550177", body="to Denver"),
            received("+13035550178", line="demo2", body="not ours"),
        )

        self.assertEqual(await self.found("303-555-01"), ["to Denver", "from Denver"])
        self.assertEqual(await self.found("303 555"), ["to Denver", "call 303 555", "from Denver"])
        self.assertEqual(await self.found("30"), ["call 303 555"])
        self.assertEqual(
            await self.found("Bob", parties=("+13035550177", "+19995550100")),
            ["to Denver", "from Denver"],
        )
        self.assertEqual(await self.found("303555", line="demo2"), [])
        self.assertEqual(await self.found("303555", limit=1), ["to Denver"])

    async def test_any_input_is_a_search(self) -> None:
        """What means something to a database means nothing when it is typed."""
        await self.take(*(received(body=f"hello {n}") for n in range(120)))
        await self.indexed()
        viewer = Viewer("john", ("demo1", *(f"none{n}" for n in range(40))))

        for typed in (
            *("", " ", '"', "'", "\\", "*", "hel*", "-hello", "+hello", "NOT", "a AND", "(", "((("),
            *("NEAR(a b)", "words:hello", "^hello", "hello:*", "h'); --", "%", "_", "a" * 5000),
            *(
                "\x00",
                "\ud800",
                "é" * 300,
                "😀",
                "& | ! <->",
                "~ @ < >",
                "{}",
                "%(x)s",
                ":asked",
                "?",
            ),
        ):
            await self.threads.search(SearchQuery(viewer=viewer, words=typed))
            await self.threads.conversations(ConversationQuery(viewer=viewer, part=typed))
            await self.threads.search(SearchQuery(viewer=JOHN, words="a", conversation=typed))
            await self.threads.thread(ThreadQuery(viewer=JOHN, conversation=typed))
            await self.threads.hide_messages(JOHN, [typed], NOW)
            for name in (typed, f"demo1|{PEER}"):
                change = ConversationChange(read_id=typed, draft=typed)
                await self.threads.change(JOHN, name, change, NOW)
                await self.threads.show_conversation(JOHN, name, typed)
                await self.page(name, before_id=typed)
        self.assertEqual(len(await self.found("hel*", viewer)), 50)
        self.assertEqual(len(await self.found('"HELLO" 1', viewer, limit=99)), 31)

    async def test_upgrade_lists_what_is_there(self) -> None:
        """Conversations, parties and words of a first version's messages are there after it."""
        folder = self.folder / "old"
        folder.mkdir()
        writer, reader = database.open_engines(database.url_of(self.database_url(), folder))
        self.addCleanup(writer.dispose)
        self.addCleanup(reader.dispose)
        numbers = tuple(f"+1202555{n:04d}" for n in range(100, 150))
        old = [
            received(body="the first"),
            wrote(OTHER, body="to another"),
            wrote(recipients=numbers, conversation=conversation("demo1", numbers)),
            between("john", "mary"),
            received("", body="withheld"),
            wrote(body="an answer in Zürich"),
        ]
        with writer.connect() as connection, connection.begin():
            config = database._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            for each in old:
                connection.execute(
                    text(
                        "INSERT INTO messages (message_id, direction, line, sender, recipients,"
                        " author, body, conversation, segments, created_at_ms, wants_report)"
                        " VALUES (:message_id, :direction, :line, :sender, :recipients, :author,"
                        " :body, :conversation, 1, 0, false)"
                    ),
                    {
                        name: "\n".join(value) if name == "recipients" else str(value)
                        for name in (
                            *("message_id", "direction", "line", "sender", "recipients"),
                            *("author", "body", "conversation"),
                        )
                        for value in [getattr(each, name)]
                    },
                )

        database.prepare(writer)
        with writer.connect() as connection, connection.begin():
            if connection.dialect.name == "sqlite":
                SearchIndex()(connection, [None], False)

        with reader.connect() as connection:
            listed = conversations_txn(connection, ConversationQuery(viewer=JOHN))
            searched = search_txn(connection, SearchQuery(viewer=JOHN, words="zurich"))
        self.assertEqual(
            [(each.conversation, each.parties, each.unread) for each in listed],
            [
                (f"demo1|{PEER}", (PEER,), 1),
                ("demo1|", (), 1),
                ("|john,mary", ("john", "mary"), 0),
                (old[2].conversation, numbers, 0),
                (f"demo1|{OTHER}", (OTHER,), 0),
            ],
        )
        self.assertEqual(listed[0].last.body, "an answer in Zürich")
        self.assertEqual([each.body for each in searched], ["an answer in Zürich"])

    async def test_messages_by_number(self) -> None:
        """The operator's list by number finds both directions and groups, and nothing else."""
        ids = await self.take(
            received(),
            wrote(),
            received(
                OTHER, recipients=(OURS, PEER), conversation=conversation("demo1", (PEER, OTHER))
            ),
        )
        await self.take(received(OTHER), received(PEER + "9"))

        for limit in (9, None):
            found = await self.store.messages(MessageQuery(number=PEER, limit=limit))
            self.assertEqual([m.message_id for m in found], ids)
        newest = await self.store.messages(MessageQuery(number=PEER, limit=2))
        self.assertEqual([m.message_id for m in newest], ids[1:])
        after = await self.store.messages(MessageQuery(number=PEER, after_id="0", limit=2))
        self.assertEqual([m.message_id for m in after], ids[:2])
        self.assertEqual(await self.store.messages(MessageQuery(number="+12", limit=2)), [])

    async def test_tells_what_changed_since(self) -> None:
        """New texts and old ones with new outcomes are told, page by page."""
        old, untouched = wrote(message_id=new_id(NOW - DAY)), wrote(message_id=new_id(NOW - DAY))
        new = wrote(message_id=new_id(NOW + 1))
        await self.take(old, untouched, new)
        await self.store.claim([f"{old.message_id}.0"], NOW + 5, NOW + DAY)

        found = await self.threads.changed_since(NOW, "", 10)
        first = await self.threads.changed_since(NOW, "", 1)
        rest = await self.threads.changed_since(NOW, old.message_id, 10)

        ids = [old.message_id, new.message_id]
        self.assertEqual([m.message_id for m in found], ids)
        self.assertEqual([m.message_id for m in first + rest], ids)

    async def test_purge_takes_conversations_along(self) -> None:
        """What loses its last text goes, with all that was noted about it; the rest stays."""
        old, kept = received(OTHER), received()
        entries = [entry(each, deliveries=()) for each in (old, kept)]
        await self.accept(*entries)
        await self.accept(entry(received(message_id=new_id(NOW + 2 * DAY)), deliveries=()))
        for each in (old, kept):
            change = ConversationChange(draft="x")
            await self.threads.change(JOHN, each.conversation, change, NOW)
        await self.threads.hide_messages(JOHN, [old.message_id], NOW)

        count, _, _ = await self.store.purge_some(NOW + DAY, NOW + DAY, "")

        self.assertEqual(count, 2)
        self.assertEqual(await self.listed(folder="all"), [kept.conversation])
        self.assertEqual(await self.listed(parties=(OTHER,)), [])
        self.assertEqual(len((await self.page(kept.conversation))[0]), 1)
        await self.take(received(OTHER))
        found = await self.only_one(parties=(OTHER,))
        self.assertEqual((found.draft, found.parties), ("", (OTHER,)))

    async def test_a_repeat_is_one_conversation(self) -> None:
        """What is accepted twice, or fails, leaves the list as it was."""
        first = entry(received(), gateway="box", dedup_key="k", dedup_until_ms=NOW + 9)
        second = entry(received(OTHER), gateway="box", dedup_key="k", dedup_until_ms=NOW + 9)

        await self.accept(first, second)

        self.assertEqual(await self.listed(), [f"demo1|{PEER}"])
        bad = received(OTHER)
        twice = entry(bad, deliveries=(delivery(bad), delivery(bad)))
        try:
            await self.store.accept(twice)
        except Exception:
            pass  # the database refuses it
        self.assertEqual(await self.listed(), [f"demo1|{PEER}"])
