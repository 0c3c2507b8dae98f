#!/usr/bin/env python3
"""Greets whoever logs in, and answers <hello /> and <quote />."""
import random
import sys
from xml.etree import ElementTree
from xml.sax.saxutils import escape

QUOTES = [
    "Simple things should be simple, complex things should be possible.",
    "The best way to predict the future is to invent it.",
    "Premature optimization is the root of all evil.",
]
WELCOME = 'Hello {}. Please feel free to send me the "hello" or "quote" nodes ! '


def say(stanza):
    sys.stdout.buffer.write(stanza.encode() + b"\0")
    sys.stdout.buffer.flush()


def heard():
    rest = b""
    while chunk := sys.stdin.buffer.read1():
        *stanzas, rest = (rest + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, stanzas)


def answer(to, text):
    say(f'<send session="{to.get("session")}">{text}</send>')


say('<register names="hello quote" hooks="onClientConnect" />')
for stanza in heard():
    if stanza.tag == "event":
        answer(stanza, f"<hello>{escape(WELCOME.format(stanza.get('nick')))}</hello>")
    elif stanza.tag == "stanza" and stanza[0].tag == "hello":
        answer(stanza, "<world>Hello World !</world>")
    elif stanza.tag == "stanza":
        answer(stanza, f"<quote>{escape(random.choice(QUOTES))}</quote>")
