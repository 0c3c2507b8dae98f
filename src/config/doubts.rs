//! Values that may be meant otherwise than they are read: the habits of INI files differ, and a
//! password that is cut in silence is found out when nobody gets in.
//!
//! Only what is free text is doubted: a number, a flag or an address that is not meant so is no
//! number, flag or address.

use super::ini::Tail;
use crate::accounts::hash::PREFIX;
use crate::nick::has_unseen;

/// What kind of text a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Checked letter by letter when it is read.
    Exactly,
    /// Free text.
    Freely,
    /// Free text that hardly anybody comments, and is not shown.
    Secretly,
    /// The request of a database, which hardly anybody comments.
    AsSql,
    /// Words as a shell splits them, quotes and comments included.
    AsWords,
}

/// Why a value may be meant otherwise. Nothing of a secret is in it.
pub(super) fn doubts(written: Written, value: &str, tail: &Tail) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut doubt = |text: &str| doubts.push(text.to_owned());
    if written == Written::Exactly {
        return doubts;
    }
    let behind = match tail {
        Tail::Nothing => None,
        // A statement ends so.
        Tail::Bare => (written == Written::Secretly).then_some(""),
        // ` ; a comment` after a path is what it looks like.
        Tail::Comment(text) => (written != Written::Freely).then_some(text.as_str()),
        Tail::Glued(text) => Some(text.as_str()),
    };
    let cut = "\" ;\" ends the value";
    match behind {
        None => {}
        Some("") => doubt(&format!("{cut}, and is no part of it")),
        Some(text) if written == Written::AsSql => {
            doubt(&format!("{cut}: {text:?} behind it is taken for a comment, and not asked"));
        }
        Some(_) => doubt(&format!("{cut}: what stands behind it is taken for a comment")),
    }
    let begins = |mark: char| value.split_whitespace().any(|word| word.starts_with(mark));
    if written == Written::AsWords {
        if begins('#') {
            doubt("\"#\" ends the value: what stands behind it is taken for a comment");
        }
        return doubts;
    }
    if begins(';') {
        doubt("\" ;\" is a part of the value, since another \";\" stands before it");
    }
    if begins('#') {
        doubt("\"#\" is a part of the value: a comment stands on a line of its own");
    }
    let quoted = |quote: char| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    if quoted('"') || quoted('\'') {
        doubt("the quotes are a part of the value");
    }
    if has_unseen(value) {
        doubt("characters that can't be seen are a part of the value: typed anew it has none");
    }
    if written != Written::Freely && value.contains(TYPOGRAPHIC) {
        doubt("typographic quotes are a part of the value, and no quotes to a program");
    }
    doubts
}

/// Quotes that a word processor puts in the place of those that were typed.
const TYPOGRAPHIC: [char; 8] = ['‘', '’', '‚', '“', '”', '„', '«', '»'];

/// Why a password for root is not what it looks like, if it is not.
pub(super) fn doubt_about_root(password: &str) -> Option<&'static str> {
    let name_of_kind = |rest: &str, end| {
        let (name, behind) = rest.split_once(end)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        (!name.is_empty() && name.chars().all(plain) && behind.len() > 4).then_some(())
    };
    // $6$…, $2y$… of crypt(3); {SSHA}… of LDAP (RFC 2307).
    let of_another_kind = password.strip_prefix('$').and_then(|rest| name_of_kind(rest, '$'));
    let of_ldap = password.strip_prefix('{').and_then(|rest| name_of_kind(rest, '}'));
    if password.starts_with(PREFIX) {
        None
    } else if password.contains(&format!(":{PREFIX}")) {
        Some(
            "it looks like a line of an accounts file, and is taken for the password itself: what \
             stands behind the colon is the hash",
        )
    } else if of_another_kind.or(of_ldap).is_some() {
        Some(
            "it looks like the hash of another program, and is taken for the password itself: \
             `palabre passwd hash` makes a hash that is taken for one",
        )
    } else {
        None
    }
}
