//! What a client can ask for beyond version 1 of the protocol: capabilities, by their names in the
//! attribute `caps` of `connect` (manual: protocol, 'Errors').

/// `<error>` elements that a program can read.
const ERRORS: &str = "errors";

/// What a session has asked for, and has been granted when it is logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caps {
    /// It is told what it was granted, if only that it is nothing.
    asked: bool,
    /// Each `<error>` has a code and the name of the request that it answers.
    pub(super) errors: bool,
}

impl Caps {
    /// Those of a list, with white space between them; unknown ones are passed over.
    pub(super) fn asked(list: Option<&str>) -> Self {
        let has =
            |wanted| list.is_some_and(|list| list.split_whitespace().any(|cap| cap == wanted));
        Self { asked: list.is_some(), errors: has(ERRORS) }
    }

    /// What the client is told that it was granted, if it has asked.
    pub(super) fn granted(self) -> Option<&'static str> {
        self.asked.then_some(if self.errors { ERRORS } else { "" })
    }
}
