//! Other parsers, and what they read.

use crate::checks::stanza::Accepted;

/// A piece of a document as a parser read it. Text that touches is one piece, CDATA included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XmlPiece {
    /// An element begins.
    Start {
        /// Its name.
        name: ExpandedName,
        /// Its attributes, in order of their names; namespace declarations are none.
        attributes: Vec<(ExpandedName, String)>,
    },
    /// Character data.
    Text(String),
    /// A comment.
    Comment(String),
    /// The element ends.
    End,
}

/// A namespace (empty when there is none) and a local name.
pub type ExpandedName = (String, String);

/// What a parser reads in a document: its root element.
pub type RootRead = Result<Vec<XmlPiece>, String>;

/// Another parser.
struct Oracle {
    name: &'static str,
    read: fn(&str) -> RootRead,
    /// Whether it reads the ends of lines as XML 1.0 section 2.11 has them.
    reads_line_ends: bool,
}

/// The parsers that were built in.
const ORACLES: &[Oracle] = &[
    // It leaves them alone in comments, and mistakes some beside a reference.
    Oracle { name: "roxmltree", read: read_roxmltree, reads_line_ends: false },
    #[cfg(feature = "expat")]
    Oracle { name: "expat", read: crate::expat::read, reads_line_ends: true },
    #[cfg(feature = "libxml2")]
    Oracle { name: "libxml2", read: crate::libxml2::read, reads_line_ends: true },
];

/// What roxmltree gets wrong: it knows the prefix `xml` in attributes only, and takes every
/// attribute with the local name `xmlns` for a declaration.
const ROXMLTREE_MISTAKES: &[&str] = &["<xml:", ":xmlns"];

/// Every parser accepts the frame both as it was sent and as it is relayed, and all read the
/// same in both.
///
/// # Panics
/// When one does not.
pub fn agree(frame: &[u8], accepted: &Accepted) {
    let sent = String::from_utf8_lossy(frame);
    let (mut exact, mut without_line_ends) = (None, None);
    for (document, how) in [(&*sent, "sent"), (&accepted.relayed, "relayed")] {
        for Oracle { name, read, reads_line_ends } in ORACLES {
            if *name == "roxmltree" && ROXMLTREE_MISTAKES.iter().any(|it| document.contains(it)) {
                continue;
            }
            let pieces = match read(document) {
                Ok(pieces) => pieces,
                Err(error) => panic!("{name} refuses what is {how}: {error}\n{document:?}"),
            };
            assert_root(name, &pieces, accepted);
            let stripped = strip_line_ends(&pieces);
            let first = without_line_ends.get_or_insert_with(|| stripped.clone());
            assert_eq!(&stripped, first, "{name} reads otherwise what is {how}\n{document:?}");
            if *reads_line_ends {
                let first = exact.get_or_insert_with(|| pieces.clone());
                assert_eq!(&pieces, first, "{name} reads otherwise what is {how}\n{document:?}");
            }
        }
    }
}

fn strip_line_ends(pieces: &[XmlPiece]) -> Vec<XmlPiece> {
    let strip = |text: &str| text.replace(['\r', '\n'], "");
    let stripped = pieces.iter().map(|piece| match piece {
        XmlPiece::Text(text) => XmlPiece::Text(strip(text)),
        XmlPiece::Comment(text) => XmlPiece::Comment(strip(text)),
        XmlPiece::Start { .. } | XmlPiece::End => piece.clone(),
    });
    stripped.filter(|piece| *piece != XmlPiece::Text(String::new())).collect()
}

/// The root's name and values are those that the strict parser gave.
fn assert_root(oracle: &str, pieces: &[XmlPiece], accepted: &Accepted) {
    let Some(XmlPiece::Start { name, attributes }) = pieces.first() else {
        panic!("{oracle} reads no element")
    };
    assert_eq!(name.1, local(&accepted.name), "{oracle}");
    let mut read: Vec<(&str, &str)> =
        attributes.iter().map(|((_, local), value)| (&**local, &**value)).collect();
    let mut given: Vec<(&str, &str)> = accepted
        .attributes
        .iter()
        .filter(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"))
        .map(|(name, value)| (local(name), &**value))
        .collect();
    read.sort_unstable();
    given.sort_unstable();
    assert_eq!(read, given, "{oracle}");
}

fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

/// Adds text, to the piece before it if that is text too.
pub(crate) fn push_text(pieces: &mut Vec<XmlPiece>, text: &str) {
    match pieces.last_mut() {
        Some(XmlPiece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(XmlPiece::Text(text.to_owned())),
    }
}

fn read_roxmltree(document: &str) -> RootRead {
    let tree = roxmltree::Document::parse(document).map_err(|error| error.to_string())?;
    let root = tree.root_element();
    let mut pieces = Vec::new();
    let mut open = Vec::new();
    for node in root.descendants() {
        while open.last().is_some_and(|&parent| node.parent() != Some(parent)) {
            open.pop();
            pieces.push(XmlPiece::End);
        }
        if node.is_element() {
            let name = |namespace: Option<&str>, local: &str| {
                (namespace.unwrap_or_default().to_owned(), local.to_owned())
            };
            let mut attributes: Vec<(ExpandedName, String)> = node
                .attributes()
                .map(|found| (name(found.namespace(), found.name()), found.value().to_owned()))
                .collect();
            attributes.sort_unstable();
            let tag = node.tag_name();
            pieces.push(XmlPiece::Start { name: name(tag.namespace(), tag.name()), attributes });
            open.push(node);
        } else if node.is_text() {
            push_text(&mut pieces, node.text().unwrap_or_default());
        } else if node.is_comment() {
            pieces.push(XmlPiece::Comment(node.text().unwrap_or_default().to_owned()));
        }
    }
    pieces.extend(open.iter().map(|_| XmlPiece::End));
    Ok(pieces)
}
