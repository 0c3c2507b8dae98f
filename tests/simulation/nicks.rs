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
];

/// Nicks that are no nicknames by RFC 8266: a zero-width space, a soft hyphen, private use.
pub(crate) const NOT_NICKNAMES: &[&str] = &["a\u{200B}b", "a\u{AD}b", "\u{E000}"];

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
