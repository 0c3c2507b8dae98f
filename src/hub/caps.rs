//! What a client can ask for beyond version 1 of the protocol: capabilities, by their names in the
//! attribute `caps` of `connect` (manual: protocol, 'Capabilities').

/// A capability.
#[derive(Debug)]
pub struct Cap {
    /// What it is called in `caps`.
    pub name: &'static str,
    /// What a session gets that has it.
    pub meaning: &'static str,
    granted: fn(&mut Caps) -> &mut bool,
}

/// Every capability, in the order in which they are granted.
pub static CAPS: &[Cap] = &[
    Cap {
        name: "errors",
        meaning: "`code='…'` in every `<error>`, and `for='…'`, the name of the request that it \
                  answers",
        granted: |caps| &mut caps.errors,
    },
    Cap {
        name: "rooms",
        meaning: "roles, modes, mutes, invitations and removals as stanzas of their own",
        granted: |caps| &mut caps.rooms,
    },
];

/// What a session has asked for, and has been granted when it is logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caps {
    /// It is told what it was granted, if only that it is nothing.
    asked: bool,
    /// Each `<error>` has a code and the name of the request that it answers.
    pub(super) errors: bool,
    /// It is told of roles, modes, mutes, invitations and removals.
    pub(super) rooms: bool,
}

impl Caps {
    /// Those of a list, with white space between them; unknown ones are passed over.
    pub(super) fn asked(list: Option<&str>) -> Self {
        let mut caps = Self { asked: list.is_some(), ..Self::default() };
        for cap in list.into_iter().flat_map(str::split_whitespace) {
            if let Some(known) = CAPS.iter().find(|known| known.name == cap) {
                *(known.granted)(&mut caps) = true;
            }
        }
        caps
    }

    /// What the client is told that it was granted, if it has asked.
    pub(super) fn granted(mut self) -> Option<String> {
        let granted = CAPS.iter().filter(|cap| *(cap.granted)(&mut self)).map(|cap| cap.name);
        let granted: Vec<&str> = granted.collect();
        self.asked.then(|| granted.join(" "))
    }
}
