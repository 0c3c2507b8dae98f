#!/bin/sh
# Rolls a die for the whole room: <dice room="tea" /> from a member.
# Stanzas end with a NUL, which no shell keeps: tr makes lines of them.
printf '<register names="dice" />\0'
tr '\n\0' ' \n' | while IFS= read -r stanza; do
    case $stanza in
    '<stanza '*'<dice '*)
        nick=$(printf '%s' "$stanza" | sed -n "s/^<stanza[^>]* nick='\([^']*\)'.*/\1/p")
        room=$(printf '%s' "$stanza" | sed -n 's/.*<dice[^>]* room="\([^"]*\)".*/\1/p')
        number=$(($(od -An -N2 -tu2 /dev/urandom) % 6 + 1))
        printf '<send room="%s"><dice nick="%s" number="%s" /></send>\0' "$room" "$nick" "$number"
        ;;
    esac
done
