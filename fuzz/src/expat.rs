//! expat with namespaces on. No crate gives it a safe face, so it is called here, and this is
//! the project's only unsafe code.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::oracle::{ExpandedName, RootRead, XmlPiece, push_text};

/// Stands between a namespace and a local name; no URI holds it.
const SEPARATOR: u8 = b'\n';

/// expat's `XML_Parser`, of which nothing is known here.
#[repr(C)]
struct ExpatParser {
    _private: [u8; 0],
}

type OnStart = unsafe extern "C" fn(*mut c_void, *const c_char, *const *const c_char);
type OnEnd = unsafe extern "C" fn(*mut c_void, *const c_char);
type OnText = unsafe extern "C" fn(*mut c_void, *const c_char, c_int);
type OnComment = unsafe extern "C" fn(*mut c_void, *const c_char);

#[link(name = "expat")]
unsafe extern "C" {
    fn XML_ParserCreateNS(encoding: *const c_char, separator: c_char) -> *mut ExpatParser;
    fn XML_SetUserData(parser: *mut ExpatParser, data: *mut c_void);
    fn XML_SetElementHandler(parser: *mut ExpatParser, start: OnStart, end: OnEnd);
    fn XML_SetCharacterDataHandler(parser: *mut ExpatParser, text: OnText);
    fn XML_SetCommentHandler(parser: *mut ExpatParser, comment: OnComment);
    fn XML_Parse(
        parser: *mut ExpatParser,
        text: *const c_char,
        length: c_int,
        last: c_int,
    ) -> c_int;
    fn XML_GetErrorCode(parser: *mut ExpatParser) -> c_int;
    fn XML_ErrorString(code: c_int) -> *const c_char;
    fn XML_ParserFree(parser: *mut ExpatParser);
}

/// What the handlers have seen.
#[derive(Default)]
struct PiecesRead {
    pieces: Vec<XmlPiece>,
    depth: usize,
}

/// What expat reads.
pub(crate) fn read(document: &str) -> RootRead {
    let length = c_int::try_from(document.len()).map_err(|_| "too long".to_owned())?;
    let mut seen = PiecesRead::default();
    // SAFETY: the parser is used by this thread alone and freed once. The handlers are of the
    // types that expat's header gives them; the pointer that they are called with is to `seen`,
    // which outlives the parser and is not touched while `XML_Parse` runs. The text is valid
    // for `length` bytes, and an error string is static.
    let result = unsafe {
        let parser = XML_ParserCreateNS(std::ptr::null(), SEPARATOR as c_char);
        assert!(!parser.is_null(), "out of memory");
        XML_SetUserData(parser, (&raw mut seen).cast());
        XML_SetElementHandler(parser, on_start, on_end);
        XML_SetCharacterDataHandler(parser, on_text);
        XML_SetCommentHandler(parser, on_comment);
        let parsed = XML_Parse(parser, document.as_ptr().cast(), length, 1);
        let error = XML_ErrorString(XML_GetErrorCode(parser));
        let result = if parsed == 1 { Ok(()) } else { Err(string(error)) };
        XML_ParserFree(parser);
        result
    };
    result.map(|()| seen.pieces)
}

unsafe extern "C" fn on_start(
    seen: *mut c_void,
    name: *const c_char,
    attributes: *const *const c_char,
) {
    // SAFETY: see `read`; `attributes` are pairs of strings, and a null pointer ends them.
    unsafe {
        let seen = &mut *seen.cast::<PiecesRead>();
        let mut read = Vec::new();
        let mut pair = attributes;
        while !(*pair).is_null() {
            read.push((split(&string(*pair)), string(*pair.add(1))));
            pair = pair.add(2);
        }
        read.sort_unstable();
        seen.pieces.push(XmlPiece::Start { name: split(&string(name)), attributes: read });
        seen.depth += 1;
    }
}

unsafe extern "C" fn on_end(seen: *mut c_void, _name: *const c_char) {
    // SAFETY: see `read`.
    let seen = unsafe { &mut *seen.cast::<PiecesRead>() };
    seen.pieces.push(XmlPiece::End);
    seen.depth -= 1;
}

unsafe extern "C" fn on_text(seen: *mut c_void, text: *const c_char, length: c_int) {
    // SAFETY: see `read`; the text is `length` bytes long.
    unsafe {
        let seen = &mut *seen.cast::<PiecesRead>();
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length as usize);
        push_text(&mut seen.pieces, &String::from_utf8_lossy(bytes));
    }
}

unsafe extern "C" fn on_comment(seen: *mut c_void, text: *const c_char) {
    // SAFETY: see `read`.
    let (seen, text) = unsafe { (&mut *seen.cast::<PiecesRead>(), string(text)) };
    // Comments beside the root are not the stanza's.
    if seen.depth > 0 {
        seen.pieces.push(XmlPiece::Comment(text));
    }
}

/// Copies a string of expat's.
///
/// # Safety
/// It ends with a NUL.
unsafe fn string(text: *const c_char) -> String {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn split(name: &str) -> ExpandedName {
    let (namespace, local) = name.split_once(char::from(SEPARATOR)).unwrap_or(("", name));
    (namespace.to_owned(), local.to_owned())
}
