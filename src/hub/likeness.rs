//! Which names can be taken for each other, though they are written otherwise.
//!
//! Names look alike when their skeletons (UTS 39 section 4) are the same, as they are given, in
//! small letters or in capitals: `Ann`, and ANN with a Cyrillic А. ASCII beside ASCII is no imitation
//! (`rn` and `m`, `l1` and `ll` are everyday names), nor is a name in another case.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

/// The names that a new one is compared with, by what they look like: some 30 bytes of memory for
/// each appearance of a name, of which it has three at most and two as a rule. The names themselves
/// are not kept, but a hash of 64 bits under the key of the table.
#[derive(Clone, Debug)]
pub(crate) struct Likenesses<S> {
    /// By the hash of an appearance: how many names have it. By that of an appearance and a name in
    /// small letters: how many names outside ASCII have both.
    counts: HashMap<u64, Count, S>,
    /// Names in all.
    names: usize,
    /// Those outside ASCII.
    foreign: usize,
}

/// How many names share something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    ascii: u32,
    foreign: u32,
}

impl Count {
    const fn of(&mut self, ascii: bool) -> &mut u32 {
        if ascii { &mut self.ascii } else { &mut self.foreign }
    }
}

impl<S: BuildHasher> Likenesses<S> {
    /// None yet; `hasher` is keyed, so that nobody can aim at the hash of another's name.
    pub(crate) fn new(hasher: S) -> Self {
        Self { counts: HashMap::with_hasher(hasher), names: 0, foreign: 0 }
    }

    /// Whether a new name could be taken for one of these. Its length has been held to its limit.
    pub(crate) fn has_like(&self, name: &str) -> bool {
        let ascii = name.is_ascii();
        if self.names == 0 || ascii && self.foreign == 0 {
            return false;
        }
        let small = name.to_lowercase();
        appearances(name).iter().any(|look| {
            let count = self.count(self.hash(look));
            if ascii {
                return count.foreign > 0;
            }
            count.ascii > 0 || count.foreign > self.count(self.hash((look, &small))).foreign
        })
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, name: &str) {
        self.names += 1;
        self.foreign += usize::from(!name.is_ascii());
        for hash in self.hashes(name) {
            *self.counts.entry(hash).or_default().of(name.is_ascii()) += 1;
        }
    }

    /// Takes a name out that was added.
    pub(crate) fn remove(&mut self, name: &str) {
        self.names -= 1;
        self.foreign -= usize::from(!name.is_ascii());
        for hash in self.hashes(name) {
            if let Some(count) = self.counts.get_mut(&hash) {
                *count.of(name.is_ascii()) -= 1;
                if *count == Count::default() {
                    self.counts.remove(&hash);
                }
            }
        }
        // The memory of a crowd goes when most of it has gone.
        if self.counts.capacity() > 4 * self.counts.len().max(KEPT) {
            self.counts.shrink_to(2 * self.counts.len());
        }
    }

    /// Takes all names out.
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        (self.names, self.foreign) = (0, 0);
    }

    /// Where a name counts.
    fn hashes(&self, name: &str) -> SmallVec<[u64; 6]> {
        let small = if name.is_ascii() { None } else { Some(name.to_lowercase()) };
        let mut hashes = SmallVec::new();
        for look in appearances(name) {
            hashes.push(self.hash(&look));
            if let Some(small) = &small {
                hashes.push(self.hash((&look, small)));
            }
        }
        hashes
    }

    fn hash(&self, what: impl Hash) -> u64 {
        self.counts.hasher().hash_one(what)
    }

    fn count(&self, hash: u64) -> Count {
        self.counts.get(&hash).copied().unwrap_or_default()
    }

    /// Checks that so many names are in it, and nothing of others.
    ///
    /// # Panics
    /// When it is otherwise, which is a bug.
    pub(crate) fn check_invariants(&self, names: usize) {
        assert_eq!(self.names, names, "names that are compared");
        assert!(self.foreign <= names && (names > 0 || self.counts.is_empty()), "likenesses");
    }
}

/// Appearances for which there is room without asking the system.
const KEPT: usize = 1_024;

/// What a name looks like: in small letters, as it is given, and in capitals. The last one keeps to
/// capitals, so that `I`, whose skeleton is `l`, is not taken for `L`.
fn appearances(name: &str) -> SmallVec<[String; 3]> {
    let mut looks = SmallVec::new();
    let mut see = |look: String| {
        if !looks.contains(&look) {
            looks.push(look);
        }
    };
    if name.is_ascii() {
        see(ascii_look(&name.to_ascii_lowercase()).to_ascii_lowercase());
        see(ascii_look(name).to_ascii_lowercase());
        see(capitals(&ascii_look(&name.to_ascii_uppercase())));
    } else {
        see(look(&name.to_lowercase()).to_lowercase());
        see(look(name).to_lowercase());
        see(capitals(&look(&in_capitals(name))));
    }
    looks
}

/// A name in capitals, each for one letter: what has none stays as it is, for `Straße` is not
/// taken for `Strasse`.
fn in_capitals(name: &str) -> String {
    name.chars().map(capital).collect()
}

fn capital(letter: char) -> char {
    let mut capital = letter.to_uppercase();
    capital.next().filter(|_| capital.next().is_none()).unwrap_or(letter)
}

/// The skeleton in capitals but for `l`, which stands for a capital as well.
fn capitals(look: &str) -> String {
    look.chars().map(|letter| if letter == 'l' { letter } else { capital(letter) }).collect()
}

/// The skeleton of a text without what the eye passes over: the width of blanks, a mark that is set
/// twice, the second dot of an `i`. The text is normalised by NFKC before, which knows more forms
/// of a letter than the table of the skeletons; and what becomes far longer by that (U+FDFA is 18
/// letters) is compared by its beginning.
fn look(text: &str) -> String {
    let chars_max = 2 * text.len();
    let text: String = text.nfkc().take(chars_max).collect();
    tidied(skeleton(&text).take(2 * chars_max))
}

/// What [`look`] comes to for ASCII, which is its own normal form.
fn ascii_look(text: &str) -> String {
    let mut look = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            'm' => look.push_str("rn"),
            '0' => look.push('O'),
            '1' | 'I' | '|' => look.push('l'),
            '`' => look.push('\''),
            '"' => look.push_str("''"),
            '%' => look.push_str("°/₀"),
            other => look.push(other),
        }
    }
    tidied(look.chars())
}

fn tidied(skeleton: impl Iterator<Item = char>) -> String {
    let mut tidy = String::new();
    let mut before = None;
    for character in skeleton {
        let character = if character.is_whitespace() { ' ' } else { character };
        let passed_over = match before {
            Some(' ') | None => character == ' ',
            Some('i' | 'j') if character == '\u{307}' => true,
            Some(before) => before == character && is_combining_mark(character),
        };
        if !passed_over {
            tidy.push(character);
            before = Some(character);
        }
    }
    tidy.truncate(tidy.trim_end().len());
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HashKey;
    use crate::hub::hash::KeyedState;

    fn with(names: &[&str]) -> Likenesses<KeyedState> {
        let mut all = Likenesses::new(KeyedState::new(HashKey(1, 2)));
        for name in names {
            all.add(name);
        }
        all
    }

    fn alike(one: &str, other: &str) -> bool {
        let found = with(&[one]).has_like(other);
        assert_eq!(with(&[other]).has_like(one), found, "{one:?} and {other:?} the other way");
        found
    }

    #[test]
    fn imitations_look_like_what_they_imitate() {
        for (name, imitations) in [
            (
                "Bob",
                &["Bоb", "ВОВ", "Воb", "bоb", "ᗷob", "Ｂｏｂ", "𝐁𝐨𝐛", "B\u{3BF}b", "Bo\u{200C}b"][..],
            ),
            ("Bill", &["ВІLL", "Віll", "bіll", "Bi\u{307}ll", "BӀLL"]),
            ("Bovis", &["Βοvis", "Βoνis", "ΒΟVΙS"]),
            ("ALICE", &["АLІСЕ", "аlісе", "alіce"]),
            ("admin", &["аdmin", "adrnіn", "𝖺𝖽𝗆𝗂𝗇", "ⓐdmіn"]),
            ("rn", &["ｍ", "м\u{200C}"][..1]),
            ("Ann Lee", &["Ann\u{3000}Lee", "Ann\u{A0}Lee", "Ann\u{2003} Lee"]),
            ("tea", &["tеa", "ТЕА", "tea\u{200D}"]),
            ("Zoë", &["Zое\u{308}", "Zoe\u{308}\u{308}", "ΖΟË"]),
            ("b0b", &["bоb", "ЬОb"][..1]),
            ("O'Neil", &["O’Neil", "OʹNeil"]),
            ("سلام", &["ﺳﻼﻡ", "ﺳ\u{644}ا\u{645}"][..1]),
        ] {
            for imitation in imitations {
                assert!(alike(name, imitation), "{name} and {imitation:?}");
            }
        }
    }

    #[test]
    fn names_of_everyday_are_not_taken_for_each_other() {
        for (one, other) in [
            // ASCII beside ASCII.
            ("l1", "ll"),
            ("rn", "m"),
            ("Bob", "b0b"),
            ("a  b", "a b"),
            // Another case is the same name, or one beside it.
            ("Bob", "BOB"),
            ("Čaj", "čaj"),
            ("ВАСЯ", "Вася"),
            ("straße", "strasse"),
            ("Zoë", "Zoe"),
            ("José", "Jose"),
            ("Jörg", "Jorg"),
            ("Élise", "Ellise"),
            ("Zoë Lill", "Zoë Liil"),
            ("Вася", "Bacr"),
            ("日本", "日木"),
            ("Анна", "Anna"),
            ("Ελένη", "Elevn"),
            ("क्\u{200D}ष", "कष"),
            ("가", "나"),
            ("🤔", "🫠"),
        ] {
            assert!(!alike(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn ascii_takes_the_same_way_as_all_else() {
        let mut texts: Vec<String> = (' '..='~').map(String::from).collect();
        texts.extend(["  a  b ", "Tim 10% \"|`", "I Il1"].map(str::to_owned));
        for text in texts {
            assert_eq!(ascii_look(&text), look(&text), "{text:?}");
        }
    }

    #[test]
    fn who_is_gone_stands_in_nobodys_way() {
        let mut all = with(&["Bob", "ll", "l1", "Čaj", "čaj"]);
        assert!(all.has_like("Bоb") && all.has_like("ӏl") && !all.has_like("Caj"));
        all.remove("ll");
        assert!(all.has_like("ӏl"));
        all.remove("l1");
        assert!(!all.has_like("ӏl"));
        all.remove("Čaj");
        assert!(!all.has_like("ČAJ"));
        all.remove("čaj");
        all.remove("Bob");
        assert!(!all.has_like("Bоb"));
        all.check_invariants(0);
    }

    #[test]
    fn names_that_were_alike_before_stand_in_the_way_of_both() {
        let all = with(&["Bоb", "Bob", "bοb"]);
        for name in ["Bob", "BOB", "Bоb", "bοb"] {
            assert!(all.has_like(name), "{name}");
        }
    }

    #[test]
    fn what_becomes_far_longer_is_compared_by_its_beginning() {
        for text in ["\u{FDFA}", "\u{33AF}", "\u{1D1C0}", "m", "%", "\u{2A74}"] {
            let long = text.repeat(128 / text.len());
            for look in appearances(&long) {
                assert!(look.len() <= 8 * long.len(), "{text}: {}", look.len());
            }
            assert!(!alike(&long, "x"), "{text}");
        }
    }
}
