//! Values that may be meant otherwise than they are read: the habits of INI files differ, and a
//! password that is cut in silence is found out when nobody gets in.
//!
//! Only what is free text is doubted: a number, a flag or an address that is not meant so is no
//! number, flag or address.

use super::ini::Tail;

/// What kind of text a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Checked letter by letter when it is read.
    Exactly,
    /// Free text.
    Freely,
    /// Free text that hardly anybody comments.
    Secretly,
    /// Words as a shell splits them, quotes and comments included.
    AsWords,
}

/// Why a value may be meant otherwise. Nothing of the value is in it.
pub(super) fn doubts(written: Written, value: &str, tail: Tail) -> Vec<&'static str> {
    let mut doubts = Vec::new();
    if written == Written::Exactly {
        return doubts;
    }
    let cut = match tail {
        Tail::Nothing => false,
        // ` ; a comment` after a path is what it looks like.
        Tail::Comment => written != Written::Freely,
        Tail::Glued => true,
    };
    if cut {
        doubts.push("\" ;\" ends the value: what stands behind it is taken for a comment");
    }
    let begins = |mark: char| value.split_whitespace().any(|word| word.starts_with(mark));
    if written == Written::AsWords {
        if begins('#') {
            doubts.push("\"#\" ends the value: what stands behind it is taken for a comment");
        }
        return doubts;
    }
    if begins(';') {
        doubts.push("\" ;\" is a part of the value, since another \";\" stands before it");
    }
    if begins('#') {
        doubts.push("\"#\" is a part of the value: a comment stands on a line of its own");
    }
    let quoted = |quote: char| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    if quoted('"') || quoted('\'') {
        doubts.push("the quotes are a part of the value");
    }
    doubts
}
