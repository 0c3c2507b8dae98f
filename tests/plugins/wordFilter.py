#!/usr/bin/env python3
"""Lets nobody say rude words, and mutes for a minute whoever tries it twice."""
import re
import sys
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

RUDE = re.compile(r"\b(bother|drat)\b", re.IGNORECASE)
tried = set()


def say(stanza):
    sys.stdout.buffer.write(stanza.encode() + b"\0")
    sys.stdout.buffer.flush()


def heard():
    rest = b""
    while chunk := sys.stdin.buffer.read1():
        *stanzas, rest = (rest + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, stanzas)


say('<register hooks="mayTalk onRemoveClient" />')
for stanza in heard():
    session = stanza.get("session")
    if stanza.tag == "event":
        tried.discard(session)
    elif stanza.tag == "ask":
        words = [*stanza[0].itertext()]
        for element in stanza[0].iter():
            words += element.attrib.values()
        rude = RUDE.search(" ".join(words))
        verdict = 'allowed="0" reason="Mind your language"' if rude else 'allowed="1"'
        say(f'<verdict ask="{stanza.get("ask")}" {verdict} />')
        if rude and session in tried:
            say(f'<mute nick={quoteattr(stanza.get("nick"))} time="60" />')
        elif rude:
            tried.add(session)
