#!/usr/bin/env python3
"""Lets in whoever knows the password of the nick."""
import hmac
import sys
import xml.etree.ElementTree as ElementTree

PASSWORDS = {"bob": "bobby", "alice": "wonderland"}


def stanzas(stream):
    """What the server says, one element after the other."""
    tail = b""
    while chunk := stream.read1():
        *frames, tail = (tail + chunk).split(b"\0")
        yield from map(ElementTree.fromstring, frames)


def say(stanza):
    sys.stdout.write(stanza + "\0")
    sys.stdout.flush()


say('<register hooks="isAuthorized" />')
for heard in stanzas(sys.stdin.buffer):
    if heard.tag == "ask":
        given = heard.find("connect").get("password", "").encode()
        known = PASSWORDS.get(heard.get("nick").lower(), "").encode()
        right = known != b"" and hmac.compare_digest(given, known)
        say(f'<verdict ask="{heard.get("ask")}" allowed="{int(right)}" />')
