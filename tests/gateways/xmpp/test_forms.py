"""Data forms, both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from smsbridge.gateways.xmpp import forms
from smsbridge.gateways.xmpp.forms import Field, FormError
from tests.gateways.xmpp.test_stanzas import parse


def sent(element: domish.Element) -> domish.Element:
    """Return a form as the client reads it."""
    iq = domish.Element((None, "iq"))
    iq.addChild(element)
    return next(parse(iq.toXml()).elements())


def submitted(inner: str, kind: str = "submit") -> domish.Element:
    """Return a form as a client fills it in."""
    return parse(f"<iq><x xmlns='jabber:x:data' type='{kind}'>{inner}</x></iq>")


class FormsTests(SynchronousTestCase):
    """What is asked, and what is answered."""

    def test_form_carries_its_fields(self) -> None:
        """Type, label, hint, options, values and what is required stand where clients look."""
        x = sent(
            forms.form(
                "Send <a> text",
                "Do & go",
                [
                    Field(name="number", label="Number", required=True, hint="With + in front"),
                    Field(
                        name="line",
                        kind="list-single",
                        values=("work",),
                        options=(("2001", "Home"), ("work", "Work")),
                    ),
                ],
                form_type="urn:example",
            )
        )

        self.assertEqual((x.uri, x["type"], str(x.title)), (forms.NS_DATA, "form", "Send <a> text"))
        self.assertEqual(str(x.instructions), "Do & go")
        hidden, number, line = (e for e in x.elements() if e.name == "field")
        self.assertEqual((hidden["var"], hidden["type"]), ("FORM_TYPE", "hidden"))
        self.assertEqual(str(hidden.value), "urn:example")
        self.assertEqual((number["type"], number["label"]), ("text-single", "Number"))
        self.assertEqual([e.name for e in number.elements()], ["desc", "required"])
        options = [e for e in line.elements() if e.name == "option"]
        self.assertEqual([(o["label"], str(o.value)) for o in options][1], ("Work", "work"))
        self.assertEqual(str(line.value), "work")

    def test_result_shows_lines(self) -> None:
        """Each line is one value of a field with several."""
        x = sent(forms.result("Log", "answer", ["a", "b < c"]))

        (field,) = (e for e in x.elements() if e.name == "field")
        self.assertEqual((x["type"], field["type"]), ("result", "text-multi"))
        self.assertEqual([str(e) for e in field.elements()], ["a", "b < c"])

    def test_what_xml_cannot_carry_is_replaced(self) -> None:
        """A control character of the phone network must not end the stream."""
        x = sent(forms.result("a\x07", "answer", ["b\x00\ud800"]))

        self.assertEqual(str(x.title), "a\ufffd")
        self.assertEqual(str(x.field.value), "b\ufffd\ufffd")

    def test_values_are_read_by_name(self) -> None:
        """A filled form gives its values, several where there are several."""
        iq = submitted(
            "<field var='ids'><value>a</value><value>b</value></field>"
            "<field var='none'/><field><value>nameless</value></field>"
        )
        found = forms.find(iq)

        assert found is not None
        self.assertEqual(forms.read(found), {"ids": ("a", "b"), "none": ()})

    def test_canceled_form_has_no_values(self) -> None:
        """Who cancels has said nothing."""
        found = forms.find(submitted("<field var='a'><value>b</value></field>", "cancel"))

        assert found is not None
        self.assertEqual(forms.read(found), {})

    def test_no_form_is_none(self) -> None:
        """A query without a form is told from one with an empty form."""
        self.assertIsNone(forms.find(parse("<iq><x xmlns='jabber:x:oob'/></iq>")))

    def test_question_is_no_answer(self) -> None:
        """A form that is itself a question is refused."""
        for kind in ("form", "result", ""):
            found = forms.find(submitted("", kind))
            assert found is not None
            self.assertRaises(FormError, forms.read, found)

    def test_size_is_bounded(self) -> None:
        """Too many fields, values or characters are refused."""
        for inner in (
            "".join(f"<field var='f{n}'/>" for n in range(65)),
            f"<field var='a'>{'<value/>' * 201}</field>",
            f"<field var='a'><value>{'x' * 20_001}</value></field>",
        ):
            found = forms.find(submitted(inner))
            assert found is not None
            self.assertRaises(FormError, forms.read, found)

    @given(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
            st.lists(st.text(st.characters(), max_size=20), max_size=4),
            max_size=5,
        )
    )
    def test_round_trip(self, values: dict[str, list[str]]) -> None:
        """What is filled in is what is read, apart from what XML cannot carry."""
        x = domish.Element((forms.NS_DATA, "x"))
        x["type"] = "submit"
        for name, each in values.items():
            field = x.addElement("field")
            field["var"] = name
            for value in each:
                field.addElement("value", content=value)

        self.assertEqual(forms.read(x), {name: tuple(v) for name, v in values.items()})
