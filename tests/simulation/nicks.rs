//! Which nicks are one and the same, by hand: RFC 8266 read for a few names, without its tables.

/// Rows of nicks that RFC 8266 calls equal; each nick may be given as it stands.
pub(crate) const SAME: &[&[&str]] = &[
    // The last one is a capital only after it has been normalised, so the rules run again.
    &["Anna", "anna", "ANNA", "\u{FF21}\u{FF4E}\u{FF4E}\u{FF41}", "\u{1D400}nna"],
    &["Zo\u{EB}", "zo\u{EB}", "ZO\u{CB}", "Zoe\u{308}"],
    &["Tom Jones", "tom  jones", "TOM   JONES", "Tom\u{3000}Jones", "Tom\u{A0}Jones"],
    &["fin", "FIN", "\u{FB01}n"],
    &["viii", "VIII", "\u{2167}", "\u{2177}"],
    &["O'Neil \"X\"", "o'neil \"x\""],
    &["a&b<c>", "A&B<C>"],
    &["\u{412}\u{430}\u{441}\u{44F}", "\u{432}\u{430}\u{441}\u{44F}"],
    &["\u{30AB}\u{30CA}", "\u{FF76}\u{FF85}"],
    &["\u{E5}ke", "\u{C5}KE", "\u{212B}ke", "A\u{30A}ke"],
    // Lower case is asked for, not case folding: these two rows are two people.
    &["stra\u{DF}e", "STRA\u{DF}E"],
    &["strasse", "STRASSE"],
    // No row of their own, but names that a careless writer breaks on.
    &["]]>"],
    &["&amp;"],
    &["''"],
    &["\u{263A}"],
    &["\u{1F600} smile"],
    &["bob"],
    &["N"],
    // Cyrillic among Latin letters: other names, which look like those above.
    &["\u{410}nna", "\u{430}nna"],
    &["b\u{43E}b"],
    // All three look the same, and two of them are ASCII.
    &["ll"],
    &["l1"],
    &["l\u{4CF}"],
    // A joiner that a Persian word needs.
    &["\u{645}\u{6CC}\u{200C}\u{62E}\u{648}"],
];

/// The first names of rows that look alike.
const ALIKE: &[&[&str]] =
    &[&["anna", "\u{410}nna"], &["bob", "b\u{43E}b"], &["ll", "l1", "l\u{4CF}"]];

/// Whether two nicks that are not the same look alike and may not be there together: in ASCII alone
/// they may.
pub(crate) fn look_alike(one: &str, other: &str) -> bool {
    let (Some(first), Some(second)) = (identity(one), identity(other)) else { return false };
    let both = |row: &&[&str]| row.contains(&&*first) && row.contains(&&*second);
    first != second && !(one.is_ascii() && other.is_ascii()) && ALIKE.iter().any(both)
}

/// Nicks that are no nicknames by RFC 8266: a zero-width space, a soft hyphen, private use. And
/// those that Unicode has shown as nothing since its tables were made, or shows as a blank.
pub(crate) const NOT_NICKNAMES: &[&str] = &[
    "a\u{200B}b",
    "a\u{AD}b",
    "\u{E000}",
    "bob\u{2065}",
    "bob\u{E01F0}",
    "bob\u{2800}",
    "\u{1BCA0}",
    "bo\u{200C}b",
];

/// What two equal nicks have in common; `None` for what can't be a nick.
///
/// # Panics
/// On a nick outside ASCII that has no row above: write one.
pub(crate) fn identity(nick: &str) -> Option<String> {
    for row in SAME {
        if row.contains(&nick) {
            return Some(row[0].to_ascii_lowercase());
        }
    }
    // What has blanks at its ends is nobody's nick, though the profile would take them away.
    let untidy = nick.trim() != nick || nick.chars().any(char::is_control);
    if NOT_NICKNAMES.contains(&nick) || untidy {
        return None;
    }
    assert!(nick.is_ascii(), "the table of nicks has no row for {nick:?}");
    // ASCII by the same rules: a run of blanks is one, case is lowered.
    let words: Vec<&str> = nick.split(' ').filter(|word| !word.is_empty()).collect();
    let plain = words.join(" ").to_ascii_lowercase();
    if plain.is_empty() { None } else { Some(plain) }
}
