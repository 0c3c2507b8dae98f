//! Characters that nobody sees, or that nobody can tell apart: no name holds them.
//!
//! They are known by the current Unicode, whatever version the profile of nicks ends with: a
//! character that came later is shown as nothing all the same.

use precis_core::{DerivedPropertyValue, FreeformClass, StringClass as _};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_script::UnicodeScript as _;

/// What is shown as nothing by default: `Default_Ignorable_Code_Point` of
/// `DerivedCoreProperties.txt`, Unicode 18. A test compares it with the table of
/// `unicode-security`.
const DEFAULT_IGNORABLE: &[(char, char)] = &[
    ('\u{AD}', '\u{AD}'),
    ('\u{34F}', '\u{34F}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{202A}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFF8}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

/// Letters, marks and symbols of the code charts whose glyph is empty, or is meant for a renderer
/// that does something else: the blank of Braille, an object in a text, the selector of Duployan,
/// blanks and the mirror of hieroglyphs, the filler of Khitan, a note without a head.
const BLANK: &[char] = &[
    '\u{2800}',
    '\u{FFFC}',
    '\u{13440}',
    '\u{13441}',
    '\u{13442}',
    '\u{16FE4}',
    '\u{1BC9D}',
    '\u{1D159}',
];

/// Marks that are shown by what they do to the letters of their script, and behind any other as
/// nothing: `Invisible_Stacker` and `Number_Joiner` of `IndicSyllabicCategory.txt`, and the joiner
/// of Tifinagh.
const STACKERS: &[char] = &[
    '\u{1039}',
    '\u{17D2}',
    '\u{1A60}',
    '\u{2D7F}',
    '\u{AAF6}',
    '\u{10A3F}',
    '\u{1107F}',
    '\u{11133}',
    '\u{113D0}',
    '\u{1193E}',
    '\u{11A47}',
    '\u{11A99}',
    '\u{11D45}',
    '\u{11D97}',
    '\u{11F42}',
];

/// Whether a name holds what is shown as nothing or means nothing to anybody else: format controls
/// (those of direction among them), fillers, variation selectors, tags, blanks that are no white
/// space, line separators, private use, noncharacters, and what is assigned to nothing.
pub(crate) fn has_unseen(name: &str) -> bool {
    if name.is_ascii() {
        return false;
    }
    let mut before = None;
    let mut joined = false;
    for character in name.chars() {
        if is_joiner(character) {
            joined = true;
        } else if is_unseen(character) || is_lost_stacker(before, character) {
            return true;
        }
        before = Some(character);
    }
    joined && !joiners_are_in_place(name)
}

/// Zero width joiner and non-joiner: Persian and Indic words need them.
const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

fn is_unseen(character: char) -> bool {
    is_default_ignorable(character) || BLANK.contains(&character) || !is_graphic(character)
}

pub(super) fn is_default_ignorable(character: char) -> bool {
    let after = DEFAULT_IGNORABLE.partition_point(|&(_, last)| last < character);
    DEFAULT_IGNORABLE.get(after).is_some_and(|&(first, _)| first <= character)
}

/// Whether a character has a form of its own. Control characters are not asked about here. What is
/// set aside for pictographs of later versions has one: it comes into use year by year.
fn is_graphic(character: char) -> bool {
    match character.general_category() {
        GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate => false,
        GeneralCategory::Unassigned => matches!(character, '\u{1F000}'..='\u{1FFFD}'),
        GeneralCategory::Control
        | GeneralCategory::UppercaseLetter
        | GeneralCategory::LowercaseLetter
        | GeneralCategory::TitlecaseLetter
        | GeneralCategory::ModifierLetter
        | GeneralCategory::OtherLetter
        | GeneralCategory::NonspacingMark
        | GeneralCategory::SpacingMark
        | GeneralCategory::EnclosingMark
        | GeneralCategory::DecimalNumber
        | GeneralCategory::LetterNumber
        | GeneralCategory::OtherNumber
        | GeneralCategory::ConnectorPunctuation
        | GeneralCategory::DashPunctuation
        | GeneralCategory::OpenPunctuation
        | GeneralCategory::ClosePunctuation
        | GeneralCategory::InitialPunctuation
        | GeneralCategory::FinalPunctuation
        | GeneralCategory::OtherPunctuation
        | GeneralCategory::MathSymbol
        | GeneralCategory::CurrencySymbol
        | GeneralCategory::ModifierSymbol
        | GeneralCategory::OtherSymbol
        | GeneralCategory::SpaceSeparator => true,
    }
}

/// Whether a stacker does not stand behind a character of its own script.
fn is_lost_stacker(before: Option<char>, character: char) -> bool {
    STACKERS.contains(&character)
        && before.is_none_or(|before| before.script() != character.script())
}

/// Whether each joiner stands where it changes the word: behind a virama, or between letters that
/// it keeps apart (RFC 5892 appendices A.1 and A.2).
fn joiners_are_in_place(name: &str) -> bool {
    let class = FreeformClass::default();
    let of_interest = |character: &char| match class.get_value_from_char(*character) {
        DerivedPropertyValue::PValid
        | DerivedPropertyValue::SpecClassPval
        | DerivedPropertyValue::ContextJ => true,
        DerivedPropertyValue::SpecClassDis
        | DerivedPropertyValue::ContextO
        | DerivedPropertyValue::Disallowed
        | DerivedPropertyValue::Unassigned => false,
    };
    class.allows(with_stand_ins(name, of_interest)).is_ok()
}

/// A name in which a snowman stands for each character that is not to be looked at: its neighbours
/// do not become neighbours of each other.
pub(super) fn with_stand_ins(name: &str, is_kept: impl Fn(&char) -> bool) -> String {
    name.chars().map(|character| if is_kept(&character) { character } else { '☃' }).collect()
}

#[cfg(test)]
mod tests {
    use unicode_security::confusable_detection::skeleton;

    use super::*;

    /// Every character of the planes that hold any, and some of the others.
    fn all() -> impl Iterator<Item = char> {
        let full = ('\0'..='\u{400FF}').chain('\u{DFF00}'..='\u{E10FF}');
        full.chain('\u{EFF00}'..='\u{F00FF}').chain('\u{10FF00}'..=char::MAX)
    }

    #[test]
    fn the_table_is_that_of_the_current_unicode() {
        for character in all() {
            let text = character.to_string();
            let none = skeleton(&text).next().is_none();
            assert_eq!(is_default_ignorable(character), none, "{character:?}");
        }
        // Those of the crates are of one version, so that none knows less than another.
        assert_eq!(unicode_security::UNICODE_VERSION, unicode_properties::UNICODE_VERSION);
    }

    #[test]
    fn tables_are_in_order() {
        assert!(DEFAULT_IGNORABLE.is_sorted_by(|one, next| one.0 <= one.1 && one.1 < next.0));
        assert!(BLANK.is_sorted() && STACKERS.is_sorted());
        let is_mark = |mark: &char| {
            mark.general_category_group() == unicode_properties::GeneralCategoryGroup::Mark
        };
        assert!(STACKERS.iter().all(is_mark));
    }

    #[test]
    fn what_is_shown_as_nothing_is_in_no_name() {
        for character in all() {
            let name = format!("Bob{character}");
            if has_unseen(&name) {
                continue;
            }
            let unseen = is_default_ignorable(character)
                || BLANK.contains(&character)
                || (character as u32 & 0xFFFE) == 0xFFFE
                || matches!(character, '\u{FDD0}'..='\u{FDEF}' | '\u{E000}'..='\u{F8FF}')
                || character > '\u{3FFFD}';
            assert!(!unseen, "{character:?}");
        }
    }

    #[test]
    fn letters_marks_and_pictographs_of_all_scripts_may_be_in_a_name() {
        for name in [
            "José",
            "Zoe\u{308}",
            "Ελένη",
            "Вася",
            "日本語",
            "한국어",
            "ไทย",
            "עברית",
            "فارسی",
            "हिन्दी",
            "தமிழ்",
            "ខ្មែរ",
            "မြန်မာ",
            "ᐃᓄᒃᑎᑐᑦ",
            "ⵜⴰⵎⴰⵣⵉⵖⵜ",
            "𝔐𝔞𝔱𝔥",
            "ﷺ",
            "Ａ",
            "☃",
            "🤔",
            "🫠",
            "👍🏽",
            "🇩🇪",
            "1\u{20E3}",
            "a\u{301}\u{323}",
            "a\u{A0}b",
            "\u{3000}",
            "\u{1FAFF}",
        ] {
            assert!(!has_unseen(name), "{name}");
        }
    }

    #[test]
    fn joiners_stay_where_words_need_them() {
        for name in ["می\u{200C}خواهم", "क्\u{200D}ष", "क्\u{200C}ष", "ශ්\u{200D}රී"]
        {
            assert!(!has_unseen(name), "{name}");
        }
        for name in [
            "Bo\u{200C}b",
            "Bob\u{200D}",
            "\u{200D}Bob",
            "日\u{200C}本",
            "می\u{200C}",
            "می\u{200C}\u{200C}خواهم",
            "क्\u{200D}\u{200D}ष",
            // Not behind a virama, though it would be without the pictograph.
            "क्🤔\u{200D}",
            "👨\u{200D}👩",
        ] {
            assert!(has_unseen(name), "{name:?}");
        }
    }

    #[test]
    fn stackers_stand_behind_letters_of_their_script() {
        for name in ["ខ្ម", "မန္တလေး", "သင်္ကြန်"] {
            assert!(!has_unseen(name), "{name}");
        }
        for stacker in STACKERS {
            assert!(has_unseen(&format!("Bob{stacker}")), "{stacker:?}");
            assert!(has_unseen(&stacker.to_string()), "{stacker:?}");
        }
    }
}
