#!/usr/bin/env python3
"""Greets who logs in, and answers <hello /> and <quote />."""
import random
import sys
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape, quoteattr

QUOTES = [
    "The best way to predict the future is to invent it.",
    "Simple things should be simple, complex things should be possible.",
    "Premature optimization is the root of all evil.",
]


def stanzas(stream):
    """What the server says, one element after the other."""
    tail = b""
    while chunk := stream.read1():
        *frames, tail = (tail + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, frames)


def send(session, stanza):
    sys.stdout.write(f"<send session={quoteattr(session)}>{stanza}</send>\0")
    sys.stdout.flush()


sys.stdout.write('<register names="hello quote" hooks="onClientConnect" />\0')
sys.stdout.flush()
for heard in stanzas(sys.stdin.buffer):
    session = heard.get("session")
    if heard.tag == "event":
        nick = escape(heard.get("nick"))
        text = f'Hello {nick}. Please feel free to send me the "hello" or "quote" nodes ! '
        send(session, f"<hello>{text}</hello>")
    elif heard.tag == "stanza" and heard[0].tag == "hello":
        send(session, "<world>Hello World !</world>")
    elif heard.tag == "stanza":
        send(session, f"<quote>{escape(random.choice(QUOTES))}</quote>")
