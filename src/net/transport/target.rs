//! What a request asks for: its target (RFC 9112 section 3.2).

use crate::config::Authority;

/// Schemes of a target that names its host, and whether they mean TLS. Some clients ask for a
/// WebSocket by its own.
const SCHEMES: [(&str, bool); 4] = [("http", false), ("https", true), ("ws", false), ("wss", true)];

/// A target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The path, as it is written; `*` where the whole server is meant.
    pub(super) path: &'a str,
    /// The query with its question mark, or nothing.
    pub(super) query: &'a str,
    /// The host that it names; `Host` then does not count.
    pub(super) authority: Option<Authority>,
    /// It is for TLS alone.
    pub(super) is_secure: bool,
}

impl<'a> Target<'a> {
    /// Takes apart what stands behind the method.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(method: &str, text: &'a str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("a request's target has no fragment (#)");
        }
        if method == "CONNECT" {
            let authority = Authority::parse(text).filter(|authority| authority.port.is_some());
            let authority = authority.ok_or("the target of CONNECT is a host and a port")?;
            return Ok(Self { path: "", query: "", authority: Some(authority), is_secure: false });
        }
        if text.starts_with('/') || (text == "*" && method == "OPTIONS") {
            let (path, query) = split_query(text);
            return Ok(Self { path, query, authority: None, is_secure: false });
        }
        let wrong = "a request's target is a path, or a URL of http with its host";
        let (scheme, rest) = text.split_once("://").ok_or(wrong)?;
        let known = |(name, _): &&(&str, bool)| scheme.eq_ignore_ascii_case(name);
        let &(_, is_secure) = SCHEMES.iter().find(known).ok_or(wrong)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = Authority::parse(authority).ok_or("the host of this URL is none")?;
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { path, query, authority: Some(authority), is_secure })
    }

    /// Whether it is this path, however its letters are spelled: what needs no `%` means the same
    /// with it (RFC 9110 section 4.2.3).
    pub(super) fn is(&self, path: &str) -> bool {
        let mut bytes = self.path.bytes();
        let mut wanted = path.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'%' => {
                    let mut digit = || char::from(bytes.next()?).to_digit(16);
                    let code = digit().zip(digit()).map(|(high, low)| (high * 16 + low) as u8);
                    match code.filter(|code| is_unreserved(*code)) {
                        Some(code) => code,
                        None => return false,
                    }
                }
                byte => byte,
            };
            if wanted.next() != Some(byte) {
                return false;
            }
        }
        wanted.next().is_none()
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_at(text.find('?').unwrap_or(text.len()))
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (String, String, &'a str, bool);

    fn read<'a>(method: &str, text: &'a str) -> Result<Parts<'a>, &'static str> {
        let target = Target::read(method, text)?;
        let host = target.authority.as_ref().map_or_else(String::new, Authority::to_string);
        Ok((host, target.path.to_owned(), target.query, target.is_secure))
    }

    #[test]
    fn every_form_of_a_target_is_taken_apart() {
        for (method, text, host, path, query, secure) in [
            ("GET", "/", "", "/", "", false),
            ("GET", "/a/b?c?d", "", "/a/b", "?c?d", false),
            ("GET", "//evil.example/a", "", "//evil.example/a", "", false),
            ("GET", "/http://evil.example/", "", "/http://evil.example/", "", false),
            ("GET", "http://A.example:80/a?b", "a.example:80", "/a", "?b", false),
            ("GET", "HTTPS://a.example", "a.example", "/", "", true),
            ("GET", "http://[::1]:1?b", "[::1]:1", "/", "?b", false),
            ("GET", "ws://a.example/", "a.example", "/", "", false),
            ("GET", "wss://a.example/", "a.example", "/", "", true),
            ("OPTIONS", "*", "", "*", "", false),
            ("CONNECT", "a.example:443", "a.example:443", "", "", false),
        ] {
            let expected = (host.to_owned(), path.to_owned(), query, secure);
            assert_eq!(read(method, text), Ok(expected), "{method} {text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for (method, text) in [
            ("GET", "*"),
            ("GET", ""),
            ("GET", "healthz"),
            ("GET", "a.example:80"),
            ("GET", "ftp://a.example/"),
            ("GET", "http:/a.example/"),
            ("GET", "http:///a"),
            ("GET", "http://me@a.example/"),
            ("GET", "http://a.example:x/"),
            ("GET", "/a#b"),
            ("GET", "http://a.example#b"),
            ("CONNECT", "/"),
            ("CONNECT", "a.example"),
        ] {
            assert!(Target::read(method, text).is_err(), "{method} {text}");
        }
    }

    #[test]
    fn a_path_is_the_same_with_its_letters_as_codes() {
        let is = |text, path| Target::read("GET", text).is_ok_and(|target| target.is(path));
        for text in ["/healthz", "/%68ealthz", "/%68%65%61%6c%74%68%7A", "/healthz?%"] {
            assert!(is(text, "/healthz"), "{text}");
        }
        for text in [
            "/health",
            "/healthzz",
            "/HEALTHZ",
            "/healthz/",
            "//healthz",
            "/./healthz",
            "%2fhealthz",
            "/%2fhealthz",
            "/healthz%",
            "/healthz%7",
            "/healthz%zz",
            "/%+8ealthz",
            "/healthz%00",
            "/%2568ealthz",
        ] {
            assert!(!is(text, "/healthz"), "{text}");
        }
        assert!(is("http://a.example", "/") && !is("http://a.example//", "/"));
    }
}
