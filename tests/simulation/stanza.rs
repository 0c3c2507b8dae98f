//! A request as its sender means it, and the many ways to spell it.

use super::random::Random;

/// An attribute: what it means and how its sender spelt it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    /// What a parser reads.
    pub(crate) value: String,
    /// What stands between the quotes.
    pub(crate) raw: String,
    pub(crate) quote: char,
}

/// A stanza: what it means and, where that is passed on, how it was spelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stanza {
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
    /// What stands between the tags.
    pub(crate) body: String,
    /// All of it as its sender wrote it last, without what stood around it.
    pub(crate) element: String,
    /// The same without the attribute that holds root's password.
    pub(crate) element_without_root_password: String,
}

impl Stanza {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attributes: Vec::new(),
            body: String::new(),
            element: String::new(),
            element_without_root_password: String::new(),
        }
    }

    /// The value of an attribute, if the stanza has it.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.as_str())
    }

    /// Puts in an attribute at a random place, in a random spelling; a name that is there stays.
    pub(crate) fn put(&mut self, name: &str, value: &str, random: &mut Random) {
        if self.attribute(name).is_some() {
            return;
        }
        let quote = random.one_of(&['"', '"', '\'']);
        let raw = spelling(value, quote, random);
        let place = random.below(self.attributes.len() + 1);
        let attribute = Attribute { name: name.to_owned(), value: value.to_owned(), raw, quote };
        self.attributes.insert(place, attribute);
    }

    /// The frame: this stanza in one of its many spellings.
    pub(crate) fn render(&mut self, random: &mut Random) -> String {
        let before = around(random).to_owned();
        let mut out = "<".to_owned();
        out += &self.name;
        let mut root_password = 0..0;
        for attribute in &self.attributes {
            let start = out.len();
            out += random.pick(&[" ", " ", " ", "  ", "\n\t", "\r\n"]);
            out += &attribute.name;
            out += random.pick(&["=", "=", "=", "= ", " =", "\t=\n"]);
            out += &format!("{0}{1}{0}", attribute.quote, attribute.raw);
            if attribute.name == "rootpass" {
                root_password = start..out.len();
            }
        }
        out += random.pick(&["", "", " ", "\n"]);
        if self.body.is_empty() && random.chance(1, 2) {
            out += "/>";
        } else {
            out += &format!(">{}</{}{}>", self.body, self.name, random.pick(&["", "", " ", "\n"]));
        }
        self.element.clone_from(&out);
        self.element_without_root_password.clone_from(&out);
        self.element_without_root_password.replace_range(root_password, "");
        let out = before + &out + around(random);
        let declaration = match random.below(48) {
            0 => "<?xml version=\"1.0\"?>",
            1 => "<?xml version='1.0' encoding='UTF-8'?>",
            2 if out.is_ascii() => "<?xml version=\"1.0\" encoding=\"us-ascii\"?>\n",
            _ => "",
        };
        declaration.to_owned() + &out
    }
}

/// What may stand around the element.
fn around(random: &mut Random) -> &'static str {
    random.pick(&["", "", "", "", "\r\n", " ", "<!-- a comment -->", "\n<!--&--><!--<m>-->\t"])
}

/// One of the ways to write `value` between two of `quote`.
fn spelling(value: &str, quote: char, random: &mut Random) -> String {
    let mut raw = String::new();
    for character in value.chars() {
        let must = matches!(character, '&' | '<' | '\t' | '\n' | '\r') || character == quote;
        if !must && random.chance(9, 10) {
            raw.push(character);
            continue;
        }
        let named = match character {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '"' => Some("&quot;"),
            '\'' => Some("&apos;"),
            // White space as it stands reads as one blank, a line's end of two characters too.
            ' ' => Some(random.pick(&["\n", "\t", "\r\n", " "])),
            _ => None,
        };
        match named {
            Some(named) if random.chance(2, 3) => raw += named,
            _ if random.chance(1, 2) => raw += &format!("&#{};", u32::from(character)),
            _ => raw += &format!("&#x{:X};", u32::from(character)),
        }
    }
    raw
}
