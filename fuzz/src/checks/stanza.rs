//! The strict parser: what it accepts can be relayed and is the same stanza again.

use palabre::limits::Limits;
use palabre::wire::stanza::{Parser, Refusal, Stanza};

/// A frame that is a stanza.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The root's name.
    pub name: String,
    /// Its attributes: name and value.
    pub attributes: Vec<(String, String)>,
    /// The element as a relay writes it.
    pub relayed: String,
}

/// Checks one frame; gives it when it is accepted.
///
/// # Panics
/// When the check fails.
pub fn check(frame: &[u8]) -> Option<Accepted> {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let accepted = match parser.parse(frame, &limits) {
        Ok(stanza) => read(&stanza),
        Err(refusal) => {
            let known = matches!(refusal, Refusal::NotXml { .. })
                || refusal == Refusal::TooDeep(limits.depth_max)
                || refusal == Refusal::TooManyAttributes(limits.attributes_max);
            assert!(known, "{refusal:?}");
            assert_eq!(parser.parse(frame, &limits).map(|_| ()), Err(refusal), "asked again");
            return None;
        }
    };
    match parser.parse(accepted.relayed.as_bytes(), &limits) {
        Ok(stanza) => assert_eq!(read(&stanza), accepted, "as relayed"),
        Err(refusal) => panic!("as relayed: {refusal:?}\n{}", accepted.relayed),
    }
    Some(accepted)
}

fn read(stanza: &Stanza<'_>) -> Accepted {
    let mut relayed = format!("<{}", stanza.name());
    let mut attributes = Vec::new();
    for attribute in stanza.attributes() {
        let quote = attribute.quote;
        relayed += &format!(" {}={quote}{}{quote}", attribute.name, attribute.raw);
        let value = attribute.value().into_owned();
        assert_eq!(stanza.value(attribute.name).as_deref(), Some(&*value));
        attributes.push((attribute.name.to_owned(), value));
    }
    relayed += &format!(">{}</{}>", stanza.inner(), stanza.name());
    assert!(stanza.element().contains(stanza.inner()));
    Accepted { name: stanza.name().to_owned(), attributes, relayed }
}
