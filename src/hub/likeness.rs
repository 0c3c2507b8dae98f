//! Which names can be taken for each other, though they are written otherwise.
//!
//! Names look alike when their skeletons (UTS 39 section 4) are the same, as they are given, in
//! small letters or in capitals: `Ann`, and ANN with a Cyrillic А. ASCII beside ASCII is no imitation
//! (`rn` and `m`, `l1` and `ll` are everyday names), nor is a name in another case.
//!
//! Which of two is the imitation can be told when one is [plainer](Script) than the other.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::MixedScript as _;
use unicode_security::confusable_detection::skeleton;

/// What a name is written in; the first is the plainest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Script {
    Ascii,
    /// One script, as words of a language are.
    One,
    /// Letters of several, as imitations are.
    Mixed,
}

impl Script {
    fn of(name: &str) -> Self {
        if name.is_ascii() {
            Self::Ascii
        } else if name.is_single_script() {
            Self::One
        } else {
            Self::Mixed
        }
    }
}

/// Which names stand in the way of a new one that looks like them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InTheWay {
    /// All of them.
    All,
    /// Those that are as plain as the new one or plainer. A name that anybody may use for as long as
    /// it is there is not to keep all others from a plainer one.
    AsPlain,
}

/// The names that a new one is compared with, by what they look like: some 40 bytes of memory for
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

/// How many names share something, by what they are written in.
type Count = [u32; 3];

impl<S: BuildHasher> Likenesses<S> {
    /// None yet; `hasher` is keyed, so that nobody can aim at the hash of another's name.
    pub(crate) fn new(hasher: S) -> Self {
        Self { counts: HashMap::with_hasher(hasher), names: 0, foreign: 0 }
    }

    /// Whether a new name could be taken for one of these that are in its way. Its length has been
    /// held to its limit.
    pub(crate) fn has_like(&self, name: &str, in_the_way: InTheWay) -> bool {
        let script = Script::of(name);
        let is_alone = match (script, in_the_way) {
            (Script::Ascii, InTheWay::AsPlain) => true,
            (Script::Ascii, InTheWay::All) => self.foreign == 0,
            (Script::One | Script::Mixed, InTheWay::All | InTheWay::AsPlain) => self.names == 0,
        };
        if is_alone {
            return false;
        }
        let others = match (script, in_the_way) {
            (Script::Ascii, InTheWay::All | InTheWay::AsPlain) => 1..=2,
            (Script::One, InTheWay::AsPlain) => 0..=1,
            (Script::One, InTheWay::All) | (Script::Mixed, _) => 0..=2,
        };
        let small = name.to_lowercase();
        appearances(name).iter().any(|look| {
            let all = self.count(self.hash(look));
            // Names outside ASCII that are this one in another case; the same in ASCII look otherwise.
            let same = self.count(self.hash((look, &small)));
            others.clone().any(|script| all[script] > same[script])
        })
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, name: &str) {
        self.names += 1;
        self.foreign += usize::from(!name.is_ascii());
        for hash in self.hashes(name) {
            self.counts.entry(hash).or_default()[Script::of(name) as usize] += 1;
        }
    }

    /// Takes a name out that was added.
    pub(crate) fn remove(&mut self, name: &str) {
        self.names -= 1;
        self.foreign -= usize::from(!name.is_ascii());
        for hash in self.hashes(name) {
            if let Some(count) = self.counts.get_mut(&hash) {
                count[Script::of(name) as usize] -= 1;
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
        see(look_normalised(&name.to_lowercase()).to_lowercase());
        see(look(name).to_lowercase());
        see(capitals(&look_normalised(&in_capitals(name))));
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

/// The skeleton of a text without what the eye passes over: blanks, which may be as thin as hairs, a
/// mark that is set twice or on nothing, the second dot of an `i`. What becomes far longer by that
/// (U+FDFA is 18 letters) is compared by its beginning.
fn look(text: &str) -> String {
    // The longest that is no other text by NFKC, `%`, becomes three characters.
    let chars_max = 3 * text.len();
    as_read(tidied(skeleton(text).take(chars_max)))
}

/// What a text looks like when it is normalised by NFKC before, which knows more forms of a letter
/// than the table of the skeletons, and takes some for others that look otherwise.
fn look_normalised(text: &str) -> String {
    look(&text.nfkc().take(text.len()).collect::<String>())
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
    for character in skeleton.filter(|character| !character.is_whitespace()) {
        let passed_over = match before {
            Some('i' | 'j') if character == '\u{307}' => true,
            Some(before) => before == character && is_combining_mark(character),
            None => is_combining_mark(character),
        };
        if !passed_over {
            tidy.push(character);
            before = Some(character);
        }
    }
    tidy
}

/// A text in which the parts that are read from the right and those that are not stand in one order,
/// whatever their order is: it can't be told where they stand beside each other on the screen.
fn as_read(text: String) -> String {
    if !text.chars().any(is_read_from_the_right) {
        return text;
    }
    let mut parts: Vec<String> = Vec::new();
    let mut from_the_right = None;
    for character in text.chars() {
        let before = from_the_right.replace(is_read_from_the_right(character));
        match parts.last_mut() {
            Some(part) if before == from_the_right => part.push(character),
            Some(_) | None => parts.push(character.to_string()),
        }
    }
    parts.sort_unstable();
    parts.concat()
}

/// Whether a character is of the blocks that are set aside for scripts from the right to the left
/// (`DerivedBidiClass.txt`), and no digit.
fn is_read_from_the_right(character: char) -> bool {
    let of_blocks = matches!(
        character,
        '\u{590}'..='\u{8FF}'
            | '\u{FB1D}'..='\u{FDFF}'
            | '\u{FE70}'..='\u{FEFF}'
            | '\u{10800}'..='\u{10FFF}'
            | '\u{1E800}'..='\u{1EFFF}'
    );
    of_blocks && !character.is_numeric()
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
        let found = with(&[one]).has_like(other, InTheWay::All);
        let back = with(&[other]).has_like(one, InTheWay::All);
        assert_eq!(back, found, "{one:?} and {other:?} the other way");
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
            ("Bob", &["B\u{200A}ob", "\u{301}Bоb"]),
            ("א1", &["1א"]),
            ("ab אב", &["אב ab"]),
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
        assert!(
            all.has_like("Bоb", InTheWay::All)
                && all.has_like("ӏl", InTheWay::All)
                && !all.has_like("Caj", InTheWay::All)
        );
        all.remove("ll");
        assert!(all.has_like("ӏl", InTheWay::All));
        all.remove("l1");
        assert!(!all.has_like("ӏl", InTheWay::All));
        all.remove("Čaj");
        assert!(!all.has_like("ČAJ", InTheWay::All));
        all.remove("čaj");
        all.remove("Bob");
        assert!(!all.has_like("Bоb", InTheWay::All));
        all.check_invariants(0);
    }

    #[test]
    fn names_that_were_alike_before_stand_in_the_way_of_both() {
        let all = with(&["Bоb", "Bob", "bοb"]);
        for name in ["Bob", "BOB", "Bоb", "bοb"] {
            assert!(all.has_like(name, InTheWay::All), "{name}");
        }
    }

    #[test]
    fn a_plainer_name_can_be_had_beside_its_imitation() {
        let has_like = |one, other| with(&[one]).has_like(other, InTheWay::AsPlain);
        for (plain, imitation) in [("tea", "tеa"), ("ТЕА", "TЕА"), ("coco", "сосо"), ("чат", "чaт")]
        {
            assert!(has_like(plain, imitation), "{imitation} beside {plain}");
            assert!(!has_like(imitation, plain), "{plain} beside {imitation}");
        }
        assert!(has_like("сосо", "ϲοϲο") && has_like("ϲοϲο", "сосо"));
        assert!(has_like("tеa", "teа") && has_like("teа", "tеa"));
        assert!(!has_like("чат", "ЧАТ") && !has_like("カナ漢字", "カナ"));
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
