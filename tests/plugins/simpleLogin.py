#!/usr/bin/env python3
"""Lets in whoever does not give the password of a hacker."""
import sys
from xml.etree import ElementTree
from xml.sax.saxutils import escape

REFUSED = "Wooohoo ! You are a hacker ? I won't let you in !"
GIVEN = "You sent a password ! congratulations"
NONE = "No password was sent ... but it's ok anyway, simpleLogin is cool with that ..."
HINT = '\nIf you don\'t want to be authorized, send password="hacker" '


def say(stanza):
    sys.stdout.buffer.write(stanza.encode() + b"\0")
    sys.stdout.buffer.flush()


def heard():
    rest = b""
    while chunk := sys.stdin.buffer.read1():
        *stanzas, rest = (rest + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, stanzas)


say('<register hooks="isAuthorized" />')
for stanza in heard():
    if stanza.tag == "ask":
        password = stanza[0].get("password")
        allowed = password != "hacker"
        text = (NONE if password is None else GIVEN) + HINT if allowed else REFUSED
        text = f"<simplelogin>{escape(text)}</simplelogin>"
        say(f'<send session="{stanza.get("session")}">{text}</send>')
        say(f'<verdict ask="{stanza.get("ask")}" allowed="{int(allowed)}" />')
