#!/usr/bin/env python3
"""Lets into the room "lounge" who has a ticket: <join room="lounge" ticket="T" />, once with each."""
import sys
from xml.etree import ElementTree

ROOM = "lounge"
tickets = {"4711", "4712"}
shown = {}


def say(stanza):
    sys.stdout.buffer.write(stanza.encode() + b"\0")
    sys.stdout.buffer.flush()


def heard():
    rest = b""
    while chunk := sys.stdin.buffer.read1():
        *stanzas, rest = (rest + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, stanzas)


say(f'<register hooks="mayJoin" room="{ROOM}" />')
say('<register hooks="onClientJoinRoom onRemoveClient" />')
for stanza in heard():
    session = stanza.get("session")
    if stanza.tag == "ask":
        ticket = stanza[0].get("ticket")
        # A ticket that somebody is going in with is not good for another one.
        good = ticket in tickets and ticket not in shown.values()
        if good:
            shown[session] = ticket
        verdict = 'allowed="1"' if good else 'allowed="0" reason="Have your ticket ready"'
        say(f'<verdict ask="{stanza.get("ask")}" {verdict} />')
    elif stanza.get("room") in (ROOM, None):
        # It is used up by whoever is in, not by whoever might have been.
        ticket = shown.pop(session, None)
        if stanza.get("hook") == "onClientJoinRoom":
            tickets.discard(ticket)
