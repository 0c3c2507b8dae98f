#!/bin/sh
# Rolls a die for all in a room: <dice room="tea" />.
# No shell can hold the NUL that ends a stanza. xargs can: it runs this file for each stanza.
if [ $# -eq 0 ]; then
    printf '<register names="dice" />\0'
    exec xargs -0 -n 1 "$0"
fi

# The values of <stanza nick='…'><dice room="…" />, with their quotes: so they can be passed on.
said=$(printf '%s' "$1" | tr '\n' ' ')
nick=$(printf '%s' "$said" | sed -nE "s/^<stanza [^>]*nick=('[^']*').*/\1/p")
room=$(printf '%s' "$said" | sed -nE "s/.*<dice [^>]*room=('[^']*'|\"[^\"]*\").*/\1/p")
if [ -n "$nick" ] && [ -n "$room" ]; then
    number=$(($(od -An -N1 -tu1 /dev/urandom) % 6 + 1))
    printf '<send room=%s><dice nick=%s number="%s" /></send>\0' "$room" "$nick" "$number"
fi
