//! Which names can be taken for each other, though they are written otherwise.
//!
//! Names look alike when their skeletons (UTS 39 section 4) are the same, as they are given, in
//! small letters or in capitals: `Ann`, and ANN with a Cyrillic А. ASCII beside ASCII is no
//! imitation (`rn` and `m`, `l1` and `ll` are everyday names), nor is a name in another case.
//!
//! Which of two is the imitation can be told when one is [plainer](Script) than the other.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::MixedScript as _;

use super::skeleton::skeleton;

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

    /// Where names in it are counted among those outside ASCII.
    const fn place(self) -> Option<usize> {
        match self {
            Self::Ascii => None,
            Self::One => Some(0),
            Self::Mixed => Some(1),
        }
    }
}

/// Which names stand in the way of a new one that looks like them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InTheWay {
    /// All of them.
    All,
    /// Those that are as plain as the new one or plainer. A name that anybody may use for as long
    /// as it is there is not to keep all others from a plainer one.
    AsPlain,
}

/// The names that a new one is compared with, by what they look like. The names themselves are not
/// kept, but hashes of 64 bits under a secret key: two as a rule for a name in ASCII, some 20 bytes
/// of memory each, and six at most for any other, of some 40.
#[derive(Clone, Debug)]
pub(crate) struct Likenesses<S> {
    hasher: S,
    /// The appearances of names in ASCII, and how many more of them have it where it is not one
    /// alone.
    ascii: HashSet<u64, AsTheyAre>,
    ascii_more: HashMap<u64, u32, AsTheyAre>,
    /// Names outside ASCII, of one script and of several: how many have an appearance, and how many
    /// an appearance and this name in small letters.
    foreign: HashMap<u64, [u32; 2], AsTheyAre>,
    /// Names in all, and those outside ASCII.
    names: usize,
    foreign_names: usize,
}

/// Hashes under a secret key need no other.
type AsTheyAre = BuildHasherDefault<AsItIs>;

/// What a name looks like, to a table and to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    script: Script,
    /// The hash of each appearance, and outside ASCII that of it with the name in small letters.
    looks: SmallVec<[(u64, Option<u64>); 3]>,
}

impl Seen {
    /// Whether to look again costs much more than to keep this.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.script != Script::Ascii
    }

    /// Where it counts.
    fn hashes(&self) -> impl Iterator<Item = u64> {
        self.looks.iter().flat_map(|&(look, with_name)| [Some(look), with_name]).flatten()
    }
}

/// Takes a number that is a hash for its hash.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl<S: BuildHasher> Likenesses<S> {
    /// None yet; `hasher` is keyed, so that nobody can aim at the hash of another's name.
    pub(crate) fn new(hasher: S) -> Self {
        Self {
            hasher,
            ascii: HashSet::default(),
            ascii_more: HashMap::default(),
            foreign: HashMap::default(),
            names: 0,
            foreign_names: 0,
        }
    }

    /// Looks at a name, whose length has been held to its limit.
    pub(crate) fn look_at(&self, name: &str) -> Seen {
        let script = Script::of(name);
        let small = if script == Script::Ascii { None } else { Some(name.to_lowercase()) };
        let mut seen = Seen { script, looks: SmallVec::new() };
        for look in appearances(name) {
            let with_name = small.as_ref().map(|small| self.hasher.hash_one((&look, small)));
            seen.looks.push((self.hasher.hash_one(&look), with_name));
        }
        seen
    }

    /// Whether a new name could be taken for one of these that are in its way.
    pub(crate) fn has_like(&self, name: &str, in_the_way: InTheWay) -> bool {
        let nothing_foreign = name.is_ascii() && self.foreign_names == 0;
        !nothing_foreign && self.names != 0 && self.is_like(&self.look_at(name), in_the_way)
    }

    /// Whether a name that was looked at could be taken for one of these that are in its way.
    pub(crate) fn is_like(&self, seen: &Seen, in_the_way: InTheWay) -> bool {
        let (ascii, one, mixed) = match (seen.script, in_the_way) {
            (Script::Ascii, InTheWay::AsPlain) => return false,
            (Script::Ascii, InTheWay::All) => (false, true, true),
            (Script::One, InTheWay::AsPlain) => (true, true, false),
            (Script::One, InTheWay::All) | (Script::Mixed, InTheWay::All | InTheWay::AsPlain) => {
                (true, true, true)
            }
        };
        seen.looks.iter().any(|&(look, with_name)| {
            if ascii && self.ascii.contains(&look) {
                return true;
            }
            let all = self.foreign(look);
            // Those that are this one in another case; the same in ASCII look otherwise.
            let same = with_name.map_or([0; 2], |hash| self.foreign(hash));
            one && all[0] > same[0] || mixed && all[1] > same[1]
        })
    }

    fn foreign(&self, hash: u64) -> [u32; 2] {
        self.foreign.get(&hash).copied().unwrap_or_default()
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, seen: &Seen) {
        self.names += 1;
        let Some(place) = seen.script.place() else {
            for hash in seen.hashes() {
                if !self.ascii.insert(hash) {
                    *self.ascii_more.entry(hash).or_default() += 1;
                }
            }
            return;
        };
        self.foreign_names += 1;
        for hash in seen.hashes() {
            self.foreign.entry(hash).or_default()[place] += 1;
        }
    }

    /// Takes a name out that was added.
    pub(crate) fn remove(&mut self, seen: &Seen) {
        self.names -= 1;
        match seen.script.place() {
            None => seen.hashes().for_each(|hash| self.remove_ascii(hash)),
            Some(place) => {
                self.foreign_names -= 1;
                seen.hashes().for_each(|hash| self.remove_foreign(hash, place));
            }
        }
        // The memory of a crowd goes when most of it has gone.
        if self.ascii.capacity() > 4 * self.ascii.len().max(KEPT) {
            self.ascii.shrink_to(2 * self.ascii.len());
        }
        if self.ascii_more.capacity() > 4 * self.ascii_more.len().max(KEPT) {
            self.ascii_more.shrink_to(2 * self.ascii_more.len());
        }
        if self.foreign.capacity() > 4 * self.foreign.len().max(KEPT) {
            self.foreign.shrink_to(2 * self.foreign.len());
        }
    }

    fn remove_ascii(&mut self, hash: u64) {
        match self.ascii_more.get_mut(&hash) {
            None => _ = self.ascii.remove(&hash),
            Some(1) => _ = self.ascii_more.remove(&hash),
            Some(more) => *more -= 1,
        }
    }

    fn remove_foreign(&mut self, hash: u64, place: usize) {
        if let Some(count) = self.foreign.get_mut(&hash) {
            count[place] -= 1;
            if *count == [0; 2] {
                self.foreign.remove(&hash);
            }
        }
    }

    /// Takes all names out.
    pub(crate) fn clear(&mut self) {
        self.ascii.clear();
        self.ascii_more.clear();
        self.foreign.clear();
        (self.names, self.foreign_names) = (0, 0);
    }

    /// Checks that so many names are in it, and nothing of others.
    ///
    /// # Panics
    /// When it is otherwise, which is a bug.
    pub(crate) fn check_invariants(&self, names: usize) {
        assert_eq!(self.names, names, "names that are compared");
        let ascii = names - self.foreign_names;
        assert!(ascii > 0 || self.ascii.is_empty() && self.ascii_more.is_empty(), "in ASCII");
        assert!(self.foreign_names > 0 || self.foreign.is_empty(), "outside ASCII");
    }
}

/// Appearances for which there is room without asking the system.
const KEPT: usize = 1_024;

/// One appearance of a name, in bytes of UTF-8.
type Appearance = SmallVec<[u8; 64]>;

/// What a name looks like: in small letters, as it is given, and in capitals. The last one keeps to
/// capitals, so that `I`, whose skeleton is `l`, is not taken for `L`.
fn appearances(name: &str) -> SmallVec<[Appearance; 3]> {
    let mut looks = if name.is_ascii() { ascii_looks(name) } else { looks(name) };
    looks.dedup();
    looks
}

fn looks(name: &str) -> SmallVec<[Appearance; 3]> {
    let texts = [
        look_normalised(&name.to_lowercase()).to_lowercase(),
        look(name).to_lowercase(),
        capitals(&look_normalised(&in_capitals(name))),
    ];
    texts.iter().map(|text| Appearance::from_slice(text.as_bytes())).collect()
}

/// What [`looks`] come to for ASCII, which is its own normal form; nearly all names are of it.
fn ascii_looks(name: &str) -> SmallVec<[Appearance; 3]> {
    let (small, large) = (u8::to_ascii_lowercase, u8::to_ascii_uppercase);
    let mut looks = SmallVec::new();
    looks.push(ascii_look(name, small, small));
    // It differs by these letters alone.
    if name.bytes().any(|letter| matches!(letter, b'I' | b'M')) {
        looks.push(ascii_look(name, u8::clone, small));
    }
    looks.push(ascii_look(
        name,
        large,
        |letter| if *letter == b'l' { b'l' } else { large(letter) },
    ));
    looks
}

fn ascii_look(name: &str, before: impl Fn(&u8) -> u8, after: impl Fn(&u8) -> u8) -> Appearance {
    let mut look = Appearance::new();
    for letter in name.bytes() {
        match before(&letter) {
            b' ' => {}
            b'm' => look.extend_from_slice(&[after(&b'r'), after(&b'n')]),
            b'0' => look.push(after(&b'O')),
            b'1' | b'I' | b'|' => look.push(after(&b'l')),
            b'`' => look.push(b'\''),
            b'"' => look.extend_from_slice(b"''"),
            b'%' => look.extend_from_slice("°/₀".as_bytes()),
            other => look.push(after(&other)),
        }
    }
    look
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

/// The skeleton of a text without what the eye passes over: blanks, which may be as thin as hairs,
/// a mark that is set twice or on nothing, the second dot of an `i`. What becomes far longer by
/// that (U+FDFA is 18 letters) is compared by its beginning.
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

/// A text in which the parts that are read from the right and those that are not stand in one
/// order, whatever their order is: it can't be told where they stand beside each other on the
/// screen.
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
    use std::hash::RandomState;

    use super::*;

    fn with(names: &[&str]) -> Likenesses<RandomState> {
        let mut all = Likenesses::new(RandomState::new());
        for name in names {
            let seen = all.look_at(name);
            all.add(&seen);
        }
        all
    }

    fn remove(from: &mut Likenesses<RandomState>, name: &str) {
        let seen = from.look_at(name);
        from.remove(&seen);
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
        texts.extend(["  a  b ", "Tim 10% \"|`", "I Il1", "MIMI", "Lili"].map(str::to_owned));
        for text in texts {
            let mut long_way = looks(&text);
            long_way.dedup();
            assert_eq!(appearances(&text), long_way, "{text:?}");
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
        remove(&mut all, "ll");
        assert!(all.has_like("ӏl", InTheWay::All));
        remove(&mut all, "l1");
        assert!(!all.has_like("ӏl", InTheWay::All));
        remove(&mut all, "Čaj");
        assert!(!all.has_like("ČAJ", InTheWay::All));
        remove(&mut all, "čaj");
        remove(&mut all, "Bob");
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
