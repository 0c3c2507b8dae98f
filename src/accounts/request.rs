//! `[database] dbRequest` → a statement with parameters: `[LOGIN]` and `[PASSWORD]` are bound,
//! never pasted, so that nothing in them is ever read as SQL.
//!
//! Old requests have quotes around them, or not; the ones right around a placeholder go. It
//! knows as much of SQL as it takes to find the ends of texts, quoted names and comments.

use core::fmt;

use super::DatabaseKind;

/// A statement that asks whether a login may happen: a row says yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRequest {
    /// The SQL, with the placeholders of its database.
    pub sql: String,
    /// What its placeholders stand for, in their order.
    pub places: Vec<Placeholder>,
    /// Whether the nick is compared by a pattern: `%` is then everybody's nick.
    pub nick_is_pattern: bool,
    /// Whether a part of it is a comment, which the database does not read.
    pub has_comment: bool,
}

/// What a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The nick that it asks for.
    Login,
    /// Its password.
    Password,
}

impl Placeholder {
    const ALL: [Self; 2] = [Self::Login, Self::Password];

    /// As it stands in `dbRequest`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "[LOGIN]",
            Self::Password => "[PASSWORD]",
        }
    }
}

/// Why a `dbRequest` can't be used; its text is what was found, then what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// A placeholder does not stand in it.
    Without(Placeholder),
    /// A placeholder is a part of a text or of a name in quotes.
    InQuotes(Placeholder),
    /// A placeholder is a part of a comment: the database would be asked without it.
    InComment(Placeholder),
    /// A quote has no other.
    Unclosed,
    /// The password would be a pattern, and `%` everybody's password.
    PasswordIsPattern,
}

impl RequestError {
    /// What was found, and what would be right.
    #[must_use]
    pub fn found_and_needed(self) -> (String, String) {
        match self {
            Self::Without(place) => (
                format!("a request without {}", place.name()),
                "[LOGIN] and [PASSWORD] where nick and password belong".to_owned(),
            ),
            Self::InQuotes(place) => (
                format!("{} within a longer text in quotes", place.name()),
                "it by itself, put together by the database: CONCAT('salt', [PASSWORD])".to_owned(),
            ),
            Self::InComment(place) => (
                format!("{} within a comment", place.name()),
                "it where the database reads it: -- and /* begin a comment, and so does # for \
                 MySQL"
                    .to_owned(),
            ),
            Self::Unclosed => {
                ("a quote without its other one".to_owned(), "quotes in pairs".to_owned())
            }
            Self::PasswordIsPattern => (
                "a comparison of [PASSWORD] by LIKE or another pattern".to_owned(),
                "= [PASSWORD], for the password % would be everybody's".to_owned(),
            ),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, needs) = self.found_and_needed();
        write!(f, "found {found}, needs {needs}")
    }
}

impl std::error::Error for RequestError {}

impl DatabaseRequest {
    /// Reads a `dbRequest` for a database.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, kind: DatabaseKind) -> Result<Self, RequestError> {
        let mut request = Self {
            sql: String::with_capacity(text.len()),
            places: Vec::new(),
            nick_is_pattern: false,
            has_comment: false,
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (place, length) = if let Some(length) = comment_length(rest, kind) {
                let comment = &rest[..length];
                let within =
                    Placeholder::ALL.into_iter().find(|place| comment.contains(place.name()));
                if let Some(place) = within {
                    return Err(RequestError::InComment(place));
                }
                request.has_comment = true;
                (None, length)
            } else if matches!(first, '\'' | '"' | '`') {
                let length = quoted_length(rest, first, kind).ok_or(RequestError::Unclosed)?;
                let inner = &rest[1..length - 1];
                match Placeholder::ALL.into_iter().find(|place| inner.contains(place.name())) {
                    Some(place) if inner != place.name() => {
                        return Err(RequestError::InQuotes(place));
                    }
                    place => (place, length),
                }
            } else {
                let place =
                    Placeholder::ALL.into_iter().find(|place| rest.starts_with(place.name()));
                (place, place.map_or(first.len_utf8(), |place| place.name().len()))
            };
            let (part, after) = rest.split_at(length);
            match place {
                Some(place) => request.put(place, kind)?,
                None => request.sql.push_str(part),
            }
            rest = after;
        }
        match Placeholder::ALL.into_iter().find(|place| !request.places.contains(place)) {
            Some(place) => Err(RequestError::Without(place)),
            None => Ok(request),
        }
    }

    fn put(&mut self, place: Placeholder, kind: DatabaseKind) -> Result<(), RequestError> {
        if ends_in_pattern_operator(&self.sql) {
            match place {
                Placeholder::Login => self.nick_is_pattern = true,
                Placeholder::Password => return Err(RequestError::PasswordIsPattern),
            }
        }
        self.places.push(place);
        self.sql.push_str(match (kind, place) {
            (DatabaseKind::Sqlite, Placeholder::Login) => "?1",
            (DatabaseKind::Sqlite, Placeholder::Password) => "?2",
            (DatabaseKind::Postgres, Placeholder::Login) => "$1",
            (DatabaseKind::Postgres, Placeholder::Password) => "$2",
            (DatabaseKind::Mysql, _) => "?",
        });
        Ok(())
    }
}

/// The bytes of the text or name in quotes that begins here; a doubled quote does not end it.
fn quoted_length(text: &str, quote: char, kind: DatabaseKind) -> Option<usize> {
    let backslashes = kind == DatabaseKind::Mysql && quote != '`';
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && backslashes {
            characters.next()?;
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

/// The bytes of the comment that begins here, if one does; one that has no end goes on to the end
/// of the request.
fn comment_length(text: &str, kind: DatabaseKind) -> Option<usize> {
    let mysql = kind == DatabaseKind::Mysql;
    if text.starts_with("/*") {
        return Some(block_length(text, kind == DatabaseKind::Postgres));
    }
    // For MySQL two signs are minus minus unless a blank follows.
    let follows = |next: char| next.is_whitespace() || next.is_control();
    let dashes = text.strip_prefix("--");
    let begins = dashes.is_some_and(|rest| !mysql || rest.chars().next().is_none_or(follows))
        || mysql && text.starts_with('#');
    begins.then(|| text.find('\n').unwrap_or(text.len()))
}

/// The bytes of a comment between `/*` and `*/`, which may hold others.
fn block_length(text: &str, nests: bool) -> usize {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        let Some(next) = text[at..].find("*/") else { return text.len() };
        let opened = if nests { text[at..at + next].matches("/*").count() } else { 0 };
        depth = depth + opened - 1;
        at += next + 2;
    }
    at
}

/// Whether what comes next is what a pattern operator compares with.
fn ends_in_pattern_operator(sql: &str) -> bool {
    let sql = sql.trim_end().trim_end_matches('(').trim_end();
    let mut words = sql.split(|c: char| !c.is_alphanumeric() && c != '_').rev();
    let mut word = words.next().unwrap_or_default();
    if word.eq_ignore_ascii_case("binary") {
        word = words.find(|word| !word.is_empty()).unwrap_or_default();
    }
    let operators = ["like", "ilike", "rlike", "regexp", "glob", "match", "to"];
    sql.ends_with('~')
        || sql.ends_with("~*")
        || operators.iter().any(|operator| operator.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str, kind: DatabaseKind) -> String {
        DatabaseRequest::parse(text, kind).unwrap().sql
    }

    fn error(text: &str) -> RequestError {
        DatabaseRequest::parse(text, DatabaseKind::Sqlite).unwrap_err()
    }

    #[test]
    fn placeholders_become_parameters() {
        let text = "SELECT * FROM t WHERE nick = [LOGIN] AND secret = MD5([PASSWORD])";
        for (kind, expected) in [
            (DatabaseKind::Sqlite, "SELECT * FROM t WHERE nick = ?1 AND secret = MD5(?2)"),
            (DatabaseKind::Postgres, "SELECT * FROM t WHERE nick = $1 AND secret = MD5($2)"),
            (DatabaseKind::Mysql, "SELECT * FROM t WHERE nick = ? AND secret = MD5(?)"),
        ] {
            assert_eq!(sql(text, kind), expected);
        }
        let twice =
            DatabaseRequest::parse("[PASSWORD][LOGIN] [PASSWORD]", DatabaseKind::Mysql).unwrap();
        assert_eq!(
            twice.places,
            [Placeholder::Password, Placeholder::Login, Placeholder::Password]
        );
        assert_eq!(sql("[PASSWORD][LOGIN] [PASSWORD]", DatabaseKind::Sqlite), "?2?1 ?2");
    }

    #[test]
    fn quotes_around_a_placeholder_go() {
        for (text, expected) in [
            ("n='[LOGIN]' AND p='[PASSWORD]'", "n=?1 AND p=?2"),
            ("n=\"[LOGIN]\" AND p=MD5('[PASSWORD]')", "n=?1 AND p=MD5(?2)"),
            ("'it''s' = '[LOGIN]' AND '' = [PASSWORD] AND é", "'it''s' = ?1 AND '' = ?2 AND é"),
            ("`a'b` = [LOGIN] AND \"c'd\" = [PASSWORD]", "`a'b` = ?1 AND \"c'd\" = ?2"),
            (r"'\' = [LOGIN] AND '[PASSWORD]'", r"'\' = ?1 AND ?2"),
        ] {
            assert_eq!(sql(text, DatabaseKind::Sqlite), expected);
        }
        assert_eq!(sql(r"'it\'s' [LOGIN] [PASSWORD]", DatabaseKind::Mysql), r"'it\'s' ? ?");
    }

    #[test]
    fn what_could_not_be_bound_is_refused() {
        use RequestError::{InComment, InQuotes, PasswordIsPattern, Unclosed, Without};
        for (text, expected) in [
            ("SELECT 1", Without(Placeholder::Login)),
            ("SELECT [LOGIN]", Without(Placeholder::Password)),
            ("SELECT [PASSWORD]", Without(Placeholder::Login)),
            ("SELECT [login] [password]", Without(Placeholder::Login)),
            ("n = [LOGIN] AND p = MD5('salt[PASSWORD]')", InQuotes(Placeholder::Password)),
            ("n = '%[LOGIN]%' AND p = [PASSWORD]", InQuotes(Placeholder::Login)),
            ("n = ' [LOGIN]' AND p = [PASSWORD]", InQuotes(Placeholder::Login)),
            ("n = '[LOGIN]''' AND p = [PASSWORD]", InQuotes(Placeholder::Login)),
            ("n = '[LOGIN] AND p = [PASSWORD]", Unclosed),
            ("n = [LOGIN] -- AND p = [PASSWORD]", InComment(Placeholder::Password)),
            ("n = [LOGIN] --AND p = [PASSWORD]", InComment(Placeholder::Password)),
            ("n = [LOGIN] /* AND p = [PASSWORD] */", InComment(Placeholder::Password)),
            ("/* n = [LOGIN] AND */ p = [PASSWORD]", InComment(Placeholder::Login)),
            ("n = [LOGIN] /* AND p = [PASSWORD]", InComment(Placeholder::Password)),
            ("n = [LOGIN] AND -- '\n-- p = [PASSWORD]", InComment(Placeholder::Password)),
            ("n = [LOGIN] AND p LIKE [PASSWORD]", PasswordIsPattern),
            ("n = [LOGIN] AND p like '[PASSWORD]'", PasswordIsPattern),
            ("n = [LOGIN] AND p LIKE BINARY ([PASSWORD])", PasswordIsPattern),
            ("n = [LOGIN] AND p ~* [PASSWORD]", PasswordIsPattern),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_a_comment_the_database_decides() {
        use DatabaseKind::{Mysql, Postgres, Sqlite};
        for (text, comment_for, none_for) in [
            ("[LOGIN] -- it's\n [PASSWORD]", &[Sqlite, Postgres, Mysql][..], &[][..]),
            ("[LOGIN] [PASSWORD] /* '", &[Sqlite, Postgres, Mysql], &[]),
            ("[LOGIN] /* ' */ [PASSWORD]", &[Sqlite, Postgres, Mysql], &[]),
            ("[LOGIN] # it's\n [PASSWORD]", &[Mysql], &[]),
            ("[LOGIN] # [PASSWORD]", &[], &[Sqlite, Postgres]),
            ("[LOGIN] --[PASSWORD]", &[], &[Mysql]),
            ("[LOGIN] /* /* */ [PASSWORD]", &[Sqlite, Mysql], &[]),
            ("[LOGIN] '--' \"/*\" - - / * [PASSWORD]", &[], &[Sqlite, Postgres, Mysql]),
        ] {
            for (kinds, has_comment) in [(comment_for, true), (none_for, false)] {
                for kind in kinds {
                    let request =
                        DatabaseRequest::parse(text, *kind).map(|request| request.has_comment);
                    assert_eq!(request, Ok(has_comment), "{kind} {text}");
                }
            }
        }
        for (text, kind) in [
            ("[LOGIN] # [PASSWORD]", Mysql),
            ("[LOGIN] -- [PASSWORD]", Mysql),
            ("[LOGIN] /* /* */ [PASSWORD] */", Postgres),
        ] {
            let error = RequestError::InComment(Placeholder::Password);
            assert_eq!(DatabaseRequest::parse(text, kind), Err(error), "{text}");
        }
    }

    #[test]
    fn a_nick_that_is_a_pattern_is_known() {
        let pattern =
            |text| DatabaseRequest::parse(text, DatabaseKind::Mysql).unwrap().nick_is_pattern;
        // As in the old server's example.
        assert!(pattern("login LIKE [LOGIN] AND password LIKE MD5([PASSWORD])"));
        assert!(!pattern("likes = [LOGIN] AND password LIKE MD5([PASSWORD])"));
    }
}
