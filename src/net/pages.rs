//! What a browser may load: the chat page, its script, the server's health and its figures.
//!
//! The page is one file: its style and its scripts are put into it once, and its policy (CSP)
//! names them by their hashes, so that nothing else can run in it.

use std::sync::OnceLock;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::transport::{Page, Reply, TEXT};
use crate::metrics::Metrics;
use crate::metrics::prometheus::{self, Gauges};

/// The client library, as it is served and as the page has it.
const LIBRARY: &str = include_str!("../web/palabre.js");

const PAGE: &str = include_str!("../web/page.html");
const STYLE: &str = include_str!("../web/page.css");
const SCRIPT: &str = include_str!("../web/page.js");

/// The page, whole, and what may run in it.
struct Chat {
    html: String,
    policy: String,
}

/// The answer to a request for this page. The gauges are gathered for the page that shows them.
pub(super) fn answer<'a>(
    page: Page,
    reply: Reply,
    metrics: &Metrics,
    gauges: impl FnOnce() -> Gauges<'a>,
) -> Vec<u8> {
    match page {
        Page::Chat => chat(reply),
        Page::Script => script(reply),
        Page::Health => health(reply),
        Page::Metrics => figures(metrics, &gauges(), reply),
    }
}

/// `GET /`.
fn chat(reply: Reply) -> Vec<u8> {
    static CHAT: OnceLock<Chat> = OnceLock::new();
    let chat = CHAT.get_or_init(assemble);
    let headers = [
        ("Content-Security-Policy", &*chat.policy),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ];
    let html = "text/html; charset=utf-8";
    reply.answer("200 OK", &headers, html, chat.html.as_bytes())
}

/// `GET /palabre.js`. Pages of anybody may have it: it is no secret, and whom they may connect to
/// with it is another question.
fn script(reply: Reply) -> Vec<u8> {
    let headers = [("Cache-Control", "no-cache"), ("Access-Control-Allow-Origin", "*")];
    let javascript = "text/javascript; charset=utf-8";
    reply.answer("200 OK", &headers, javascript, LIBRARY.as_bytes())
}

/// `GET /healthz` of a server that serves.
fn health(reply: Reply) -> Vec<u8> {
    let body = concat!("palabre ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();
    reply.answer("200 OK", &[("Cache-Control", "no-store")], TEXT, body)
}

/// `GET /metrics`, in the text format of Prometheus.
fn figures(metrics: &Metrics, gauges: &Gauges<'_>, reply: Reply) -> Vec<u8> {
    let mut text = String::new();
    prometheus::write(&mut text, metrics, gauges);
    let prometheus = "text/plain; version=0.0.4; charset=utf-8";
    reply.answer("200 OK", &[("Cache-Control", "no-store")], prometheus, text.as_bytes())
}

fn assemble() -> Chat {
    let html = PAGE
        .replace("<!-- style -->", &format!("<style>{STYLE}</style>"))
        .replace("<!-- script: palabre.js -->", &format!("<script>{LIBRARY}</script>"))
        .replace("<!-- script: page.js -->", &format!("<script>{SCRIPT}</script>"));
    let policy = format!(
        "default-src 'none'; script-src {} {}; style-src {}; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(LIBRARY),
        hash(SCRIPT),
        hash(STYLE)
    );
    Chat { html, policy }
}

/// A source expression of Content Security Policy (level 3, section 2.3.1).
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_and_its_policy_knows_all_that_is_in_it() {
        let Chat { html, policy } = assemble();
        assert!(!html.contains("<!-- style -->") && !html.contains("<!-- script"));
        for (open, close, count) in [("<script>", "</script>", 2), ("<style>", "</style>", 1)] {
            let parts: Vec<&str> = html.split(open).skip(1).collect();
            assert_eq!(parts.len(), count);
            assert_eq!(html.matches(close).count(), count, "{close} within");
            for part in parts {
                let (text, _) = part.split_once(close).unwrap();
                assert!(policy.contains(&hash(text)), "{policy}");
            }
        }
        for outside in ["src=", "@import", "url(", "http:", "https:"] {
            let found = html.find(outside).map(|at| &html[at..(at + 60).min(html.len())]);
            assert!(found.is_none(), "{found:?}");
        }
    }

    #[test]
    fn a_known_hash() {
        // SHA-256 of nothing (FIPS 180-4).
        assert_eq!(hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }
}
