//! libxml2 as it stands in a program that asks for nothing special.

use libxml::error::XmlErrorLevel;
use libxml::parser::{Parser, ParserOptions, XmlParseFailure};
use libxml::readonly::RoNode;
use libxml::tree::NodeType;

use crate::oracle::{ExpandedName, RootRead, XmlPiece, push_text};

/// What libxml2 reads. An error in a namespace is a refusal, although it gives a tree then.
pub(crate) fn read(document: &str) -> RootRead {
    let options = ParserOptions { recover: false, no_net: true, ..ParserOptions::default() };
    let parsed = Parser::default().parse_string_with_diagnostics(document, options);
    let (tree, diagnostics) = match parsed {
        Ok(parsed) => parsed,
        Err(XmlParseFailure::ParseFailed(diagnostics)) => return Err(format!("{diagnostics:?}")),
        Err(_) => return Err("not parsed".to_owned()),
    };
    if let Some(error) = diagnostics
        .iter()
        .find(|found| !matches!(found.level, XmlErrorLevel::None | XmlErrorLevel::Warning))
    {
        return Err(format!("{error:?}"));
    }
    let mut pieces = Vec::new();
    match tree.get_root_readonly() {
        Some(root) => element(root, &mut pieces),
        None => return Err("no root".to_owned()),
    }
    Ok(pieces)
}

/// Reads an element; it recurses, but no deeper than the strict parser lets elements nest.
fn element(node: RoNode, pieces: &mut Vec<XmlPiece>) {
    let namespace = node.get_namespace().map(|found| found.get_href()).unwrap_or_default();
    let mut attributes: Vec<(ExpandedName, String)> = node
        .get_properties_ns()
        .into_iter()
        .map(|((local, found), value)| {
            ((found.map(|found| found.get_href()).unwrap_or_default(), local), value)
        })
        .collect();
    attributes.sort_unstable();
    pieces.push(XmlPiece::Start { name: (namespace, node.get_name()), attributes });
    for child in node.get_child_nodes() {
        match child.get_type() {
            Some(NodeType::ElementNode) => element(child, pieces),
            Some(NodeType::TextNode | NodeType::CDataSectionNode) => {
                push_text(pieces, &child.get_content());
            }
            Some(NodeType::CommentNode) => pieces.push(XmlPiece::Comment(child.get_content())),
            other => panic!("libxml2 reads a {other:?}"),
        }
    }
    pieces.push(XmlPiece::End);
}
