//! What counts as a stanza: every refusal, and beside each what is just not refused
//! (manual: protocol, 'What counts as a stanza').

use std::borrow::Cow;
use std::fmt::Write as _;

use palabre::limits::Limits;
use palabre::wire::stanza::{Attribute, Parser, Refusal};

/// Whether a frame is a stanza, and why not.
fn verdict(frame: impl AsRef<[u8]>) -> Result<(), Refusal> {
    Parser::new().parse(frame.as_ref(), &Limits::default()).map(|_| ())
}

#[track_caller]
fn assert_accepted(frames: &[&str]) {
    for frame in frames {
        assert_eq!(verdict(frame), Ok(()), "{frame}");
    }
}

/// Each row is a reason and the frames that are refused for it.
#[track_caller]
fn assert_refused(rows: &[(&'static str, &[&str])]) {
    for (reason, frames) in rows {
        for frame in *frames {
            assert_eq!(met(verdict(frame)), Some(*reason), "{frame}");
        }
    }
}

/// Why a frame is no XML, if it is none.
#[track_caller]
fn met(verdict: Result<(), Refusal>) -> Option<&'static str> {
    match verdict {
        Ok(()) => None,
        Err(Refusal::NotXml { met, .. }) => Some(met),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// The values of the attribute `a` and the body of a frame that must be a stanza.
#[track_caller]
fn read(frame: &str) -> (Option<String>, String) {
    let mut parser = Parser::new();
    match parser.parse(frame.as_bytes(), &Limits::default()) {
        Ok(stanza) => (stanza.value("a").map(Cow::into_owned), stanza.inner().to_owned()),
        Err(refusal) => panic!("{frame}: {refusal:?}"),
    }
}

#[test]
fn white_space_comments_and_a_declaration_may_stand_around_the_element() {
    assert_accepted(&[
        "<x/>",
        "<x />",
        "<x></x>",
        "\r\n\t <x/>\r\n\t ",
        "<!--before--><!----> <x/> <!-- after --><!---->\n",
        "<?xml version='1.0'?><x/>",
        "<?xml version=\"1.0\"?>\n<!-- a --><x/>",
        "<?xml\tversion\n=\r'1.0' ?><x/>",
        "<?xml version='1.0' encoding='UTF-8'?><x>é</x>",
        "<?xml version='1.0' encoding=\"utf-8\" standalone='yes'?><x/>",
        "<?xml version='1.0' encoding='US-ASCII' standalone=\"no\" ?><x/>",
        "<?xml version='1.0' encoding='us-ascii'?><x>&#233;</x>",
        "<?xml version='1.0' standalone='no'?><x/>",
    ]);
    assert_refused(&[
        ("no element", &["", " ", "\r\n", "<!-- only -->", "<?xml version='1.0'?>"]),
        ("text before the root", &["x", "x<x/>", "&amp;<x/>", "\u{feff}<x/>", "]]><x/>"]),
        (
            "something after the element",
            &[
                "<x/>y",
                "<x/><x/>",
                "<x></x></x>",
                "<x/>&#32;",
                "<x/><![CDATA[]]>",
                "<x/><?p?>",
                "<x/>\u{feff}",
                "<x/><",
            ],
        ),
        (
            "a document type or CDATA before the root",
            &[
                "<!DOCTYPE x><x/>",
                "<!doctype x><x/>",
                "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
                "<![CDATA[ ]]><x/>",
                "<!- x -><x/>",
            ],
        ),
        (
            "a processing instruction",
            &[
                " <?xml version='1.0'?><x/>",
                "<!----><?xml version='1.0'?><x/>",
                "<?xml?><x/>",
                "<?xmlversion='1.0'?><x/>",
                "<?XML version='1.0'?><x/>",
                "<?p?><x/>",
                "<?",
                "<x><?p i?></x>",
                "<x><?xml version='1.0'?></x>",
                "<x><?></x>",
            ],
        ),
    ]);
}

#[test]
fn a_declaration_is_one_of_xml_1_0_in_utf_8() {
    assert_refused(&[
        (
            "an XML declaration for something else",
            &[
                "<?xml ?><x/>",
                "<?xml version='1.1'?><x/>",
                "<?xml version='1'?><x/>",
                "<?xml version='1.0 '?><x/>",
                "<?xml version='1.0'encoding='UTF-8'?><x/>",
                "<?xml version='1.0' encoding='UTF-16'?><x/>",
                "<?xml version='1.0' encoding='ISO-8859-1'?><x/>",
                "<?xml version='1.0' encoding=''?><x/>",
                "<?xml version='1.0' encoding='us-ascii'?><x>é</x>",
                "<?xml encoding='UTF-8'?><x/>",
                "<?xml encoding='UTF-8' version='1.0'?><x/>",
                "<?xml version='1.0' standalone='yes' encoding='UTF-8'?><x/>",
                "<?xml version='1.0' standalone='maybe'?><x/>",
                "<?xml version='1.0' standalone='YES'?><x/>",
                "<?xml version='1.0' version='1.0'?><x/>",
                "<?xml version='1.0' more='1'?><x/>",
                "<?xml version='1.0' x?><x/>",
                "<?xml version='1.0' ??><x/>",
                "<?xml VERSION='1.0'?><x/>",
            ],
        ),
        (
            "an XML declaration with a malformed field",
            &[
                "<?xml version?><x/>",
                "<?xml version=1.0?><x/>",
                "<?xml version='1.0?><x/>",
                "<?xml version='1.0\"?><x/>",
                "<?xml version=?><x/>",
            ],
        ),
        ("an XML declaration that does not end", &["<?xml version='1.0'><x/>", "<?xml "]),
    ]);
}

#[test]
fn tags_open_and_close_one_element_after_the_other() {
    assert_accepted(&[
        "<x><y/><z><y></y></z></x>",
        "<x\n></x\r\n\t >",
        "<x\t/>",
        "<x>text<y/>text</x>",
    ]);
    assert_refused(&[
        ("an element that is not closed", &["<x>", "<x><y></y>", "<x>text", "<x><y/>"]),
        (
            "an end tag that closes another element",
            &["<x></y>", "<x></X>", "<x></>", "<x></ x>", "<x><y></x></y>", "<x></", "<xy></x>"],
        ),
        (
            "an end tag with more than its name",
            &["<x></xy>", "<x></x y>", "<x></x a='1'>", "<x></x/>", "<x></x", "<x></x "],
        ),
        ("a tag that does not end", &["<x", "<", "<x a='>", "<x><y", "<x a='1'"]),
        (
            "no name where one must be",
            &["< x/>", "<>", "</x>", "<x>< y/></x>", "<=/>", "<x / >", "<x a='1' / >"],
        ),
        ("no white space before an attribute", &["<x/ >", "<x=''/>", "<x'a'/>", "<x//>"]),
        (
            "a <! that is neither comment nor CDATA",
            &[
                "<x><!DOCTYPE x></x>",
                "<x><!ELEMENT x ANY></x>",
                "<x><![cdata[]]></x>",
                "<x><!></x>",
                "<x><!-></x>",
                "<x><!",
                "<x><![CDATA",
            ],
        ),
    ]);
}

#[test]
fn attributes_are_quoted_apart_and_distinct() {
    assert_accepted(&[
        "<x a='1'/>",
        "<x a=\"1\" b='2'\tc\n=\r\"3\"/>",
        "<x a='' A=''/>",
        "<x a='\"' b=\"'\"/>",
        "<x a='>' b='/>' c='a=\"1\"'/>",
        "<x a=']]>'/>",
        "<x xmlfoo='1' XML='2'/>",
    ]);
    assert_refused(&[
        (
            "an attribute twice",
            &["<x a='1' a='1'/>", "<x a='1' b='2' a=\"3\"></x>", "<x><y a='' a=''/></x>"],
        ),
        ("a value without quotes", &["<x a=1/>", "<x a=/>", "<x a=`1`/>", "<x a= >y</x>"]),
        ("an attribute without a value", &["<x a/>", "<x a b='1'/>", "<x a'1'/>", "<x a></x>"]),
        (
            "no white space before an attribute",
            &["<x a='1'b='2'/>", "<x a='1'\"2\"/>", "<x a='1'/ >", "<x a='1',b='2'/>"],
        ),
        ("a < in a value", &["<x a='<'/>", "<x a='<y/>'/>", "<x><y a=\"a<b\"/></x>"]),
        (
            "no reference after a &",
            &["<x a='&'/>", "<x a='a & b'/>", "<x a='&amp'/>", "<x a='&nbsp;'/>"],
        ),
        ("no name where one must be", &["<x ='1'/>", "<x / >", "<x 'a'/>", "<x a='1' \"b\"/>"]),
        ("a name begins with a character that can't begin one", &["<x 1='1'/>", "<x -='1'/>"]),
    ]);
}

#[test]
fn many_attributes_are_told_apart_as_well_as_few() {
    let limits = Limits { attributes_max: 0, ..Limits::default() };
    for count in [2, 15, 16, 17, 18, 200, 8_000] {
        let names = |doubled: Option<usize>| {
            (0..count).fold("<x".to_owned(), |mut frame, index| {
                let name = if doubled == Some(index) { 0 } else { index };
                let _ = write!(frame, " a{name}=''");
                frame
            }) + "/>"
        };
        let mut parser = Parser::new();
        let distinct = names(None);
        assert!(parser.parse(distinct.as_bytes(), &limits).is_ok(), "{count}");
        for at in [1, count / 2, count - 1].into_iter().filter(|&at| at > 0) {
            let doubled = names(Some(at));
            let verdict = parser.parse(doubled.as_bytes(), &limits).map(|_| ());
            assert_eq!(met(verdict), Some("an attribute twice"), "{count} {at}");
        }
    }
}

#[test]
fn text_holds_references_and_no_end_of_cdata() {
    assert_accepted(&[
        "<x>&lt;&gt;&amp;&quot;&apos;</x>",
        "<x a='&lt;&gt;&amp;&quot;&apos;'/>",
        "<x>&#9;&#10;&#13;&#32;&#xD7FF;&#xE000;&#xFFFD;&#x10000;&#x10FFFF;&#1114111;</x>",
        "<x>&#00000000000000000000000065;&#x000000000000000000000041;&#xaBcD;</x>",
        "<x>> ]] ]> ] ]&gt; ]]&gt; \"'</x>",
        "<x>]]<y/>></x>",
        "<x>]]<![CDATA[>]]></x>",
        "<x>\t\r\n\u{7f}\u{80}\u{85}\u{9f}\u{a0}\u{2028}\u{d7ff}\u{e000}\u{feff}\u{fffd}</x>",
        "<x>\u{10000}\u{1fffe}\u{10ffff}</x>",
    ]);
    assert_refused(&[
        ("a ]]> in text", &["<x>]]></x>", "<x>a]]]]></x>", "<x>]]>", "<x><y/>]]></x>"]),
        (
            "no reference after a &",
            &[
                "<x>&</x>",
                "<x>a & b</x>",
                "<x>&amp</x>",
                "<x>&amp ;</x>",
                "<x>& amp;</x>",
                "<x>&;</x>",
                "<x>&nbsp;</x>",
                "<x>&AMP;</x>",
                "<x>&a.b;</x>",
                "<x>&",
                "<x>&#",
                "<x>&#;</x>",
                "<x>&#x;</x>",
                "<x>&#X41;</x>",
                "<x>&#65</x>",
                "<x>&#6 5;</x>",
                "<x>&#+65;</x>",
                "<x>&#-1;</x>",
                "<x>&#A;</x>",
                "<x>&#xG;</x>",
                "<x>&#0;</x>",
                "<x>&#x0;</x>",
                "<x>&#8;</x>",
                "<x>&#11;</x>",
                "<x>&#x1F;</x>",
                "<x>&#xD800;</x>",
                "<x>&#xDBFF;&#xDC00;</x>",
                "<x>&#xDFFF;</x>",
                "<x>&#xFFFE;</x>",
                "<x>&#65535;</x>",
                "<x>&#x110000;</x>",
                "<x>&#1114112;</x>",
                "<x>&#4294967361;</x>",
                "<x>&#x100000041;</x>",
                "<x>&#99999999999999999999999999999999999999999;</x>",
                "<x a='&#x1F;'/>",
                "<x a='&#xD800;'/>",
            ],
        ),
    ]);
}

#[test]
fn comments_and_cdata_stand_in_the_body() {
    assert_accepted(&[
        "<x><!----><!-- - -> < & ]]> <y> --></x>",
        "<x><!-- \u{e9} --></x>",
        "<x><![CDATA[]]></x>",
        "<x><![CDATA[ < & &nope; <y> ]] ]> -- <![CDATA[ ]]></x>",
        "<x><![CDATA[]]]]></x>",
        "<x><![CDATA[]]]]><![CDATA[>]]></x>",
    ]);
    assert_refused(&[
        (
            "two hyphens in a comment",
            &[
                "<x><!-- -- --></x>",
                "<x><!-----></x>",
                "<x><!-- ---></x>",
                "<!-- --- --><x/>",
                "<x/><!-- a--b -->",
            ],
        ),
        ("a comment that does not end", &["<x><!--></x>", "<x><!---></x>", "<!-- - >", "<x/><!--"]),
        ("a CDATA section that does not end", &["<x><![CDATA[ ]] ></x>", "<x><![CDATA["]),
    ]);
}

#[test]
fn forbidden_characters_are_refused_wherever_they_stand() {
    let places =
        ["<x>@</x>", "<x a='@'/>", "<!--@--><x/>", "<x><![CDATA[@]]></x>", "<x@/>", "@<x/>"];
    let at = |place: &str, bytes: &[u8]| {
        let (before, after) = place.split_once('@').unwrap_or_default();
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    let controls = (0..0x20_u8).filter(|byte| !b"\t\n\r".contains(byte));
    for place in places {
        for control in controls.clone() {
            let frame = at(place, &[control]);
            assert_eq!(met(verdict(&frame)), Some("a control character"), "{frame:?}");
        }
        for noncharacter in ["\u{fffe}", "\u{ffff}"] {
            let frame = at(place, noncharacter.as_bytes());
            assert_eq!(met(verdict(&frame)), Some("U+FFFE or U+FFFF"), "{frame:?}");
        }
        let not_utf8: [&[u8]; 9] = [
            b"\x80",
            b"\xff",
            b"\xc3",
            b"\xc0\x80",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xed\xb0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe2\x82",
        ];
        for bytes in not_utf8 {
            let frame = at(place, bytes);
            assert_eq!(met(verdict(&frame)), Some("not UTF-8"), "{frame:?}");
        }
    }
    // The check goes over blocks of bytes: each place in a block counts.
    for length in 0..70 {
        let mut frame = format!("<x>{}</x>", "y".repeat(70)).into_bytes();
        frame[3 + length] = 1;
        assert_eq!(met(verdict(&frame)), Some("a control character"), "{length}");
    }
}

/// What `tests/stanza/names.txt` says of a character: `(begins a name, stands in a name)`.
fn names_of_the_fourth_edition() -> Vec<(bool, bool)> {
    let mut allowed = vec![(false, false); 0x1_0000];
    for line in include_str!("stanza/names.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [kind, first, last] = fields[..] else { panic!("{line}") };
        let point = |hex| usize::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("{line}"));
        for entry in &mut allowed[point(first)..=point(last)] {
            *entry = (kind == "start", true);
        }
    }
    allowed
}

#[test]
fn names_are_those_of_the_fourth_edition() {
    let allowed = names_of_the_fourth_edition();
    for point in 0x80..0x1_0000_u32 {
        let Some(char) = char::from_u32(point) else { continue };
        let (begins, stands) = allowed[point as usize];
        for (frame, expected) in [
            (format!("<{char}/>"), begins),
            (format!("<a{char}/>"), stands),
            (format!("<x {char}=''/>"), begins),
            (format!("<x a{char}=''/>"), stands),
            (format!("<a{char}></a{char}>"), stands),
        ] {
            assert_eq!(verdict(&frame).is_ok(), expected, "{frame} U+{point:04X}");
        }
    }
    for char in (0x1_0000..0x11_0000_u32).step_by(0x101).filter_map(char::from_u32) {
        assert!(verdict(format!("<x{char}/>")).is_err(), "U+{:04X}", u32::from(char));
    }
    for byte in 0x21..0x7f_u8 {
        let char = char::from(byte);
        let begins = char.is_ascii_alphabetic() || char == '_';
        let stands = begins || char.is_ascii_digit() || char == '-' || char == '.';
        assert_eq!(verdict(format!("<{char}x/>")).is_ok(), begins, "{char}");
        assert_eq!(verdict(format!("<x{char}x/>")).is_ok(), stands, "{char}");
        assert_eq!(verdict(format!("<x {char}x=''/>")).is_ok(), begins, "{char}");
        assert_eq!(verdict(format!("<x x{char}x=''/>")).is_ok(), stands, "{char}");
    }
}

#[test]
fn names_are_no_longer_than_libxml2_takes_them() {
    let limits = Limits { stanza_bytes_max: usize::MAX, ..Limits::default() };
    for (length, expected) in [(50_000, None), (50_001, Some("a name longer than 50000 bytes"))] {
        for letter in ["x", "é"] {
            let name = letter.repeat(length / letter.len()) + &"x".repeat(length % letter.len());
            for frame in [format!("<{name}/>"), format!("<x {name}=''/>")] {
                let mut parser = Parser::new();
                let verdict = parser.parse(frame.as_bytes(), &limits).map(|_| ());
                assert_eq!(met(verdict), expected, "{letter} {length}");
            }
        }
    }
}

#[test]
fn prefixes_are_declared_inside_the_stanza() {
    assert_accepted(&[
        "<p:x xmlns:p='u'/>",
        "<x p:a='1' xmlns:p='u'/>",
        "<x xmlns:p='u'><p:y p:a=''><p:z/></p:y></x>",
        "<x xmlns:p='u'><y><z><p:a/></z></y></x>",
        "<x xmlns:p='u'><y xmlns:p='v'><p:z/></y><p:z/></x>",
        "<x><p:y xmlns:p='u'></p:y ><p:y xmlns:p='u'/></x>",
        "<x xmlns='u'><y xmlns=''/></x>",
        "<xml:x/>",
        "<x xml:lang='en' xml:space='preserve' xml:base='b'/>",
        "<x xmlns:p='u' xmlns:q='u' p:a='' q:b=''/>",
        "<x xmlns:p='u' xmlns:q='v' p:a='' q:a='' a=''/>",
        "<x xmlns='u' xmlns:p='u' a='' p:a=''/>",
        "<x xmlns:p='u'><y p:a=''/><y p:a=''/></x>",
        "<x id='1' xmlns:xm='u'/>",
        "<p.-1é:_x xmlns:p.-1é='u'/>",
    ]);
    assert_refused(&[
        (
            "a prefix that is not declared",
            &[
                "<p:x/>",
                "<x p:a=''/>",
                "<p:x xmlns='u'/>",
                "<x><y xmlns:p='u'/><p:y/></x>",
                "<x><y xmlns:p='u'></y><p:y/></x>",
                "<x><y xmlns:p='u'></y><z><p:y/></z></x>",
                "<x><y xmlns:p='u'/><z><y p:a=''/></z></x>",
                "<x><y xmlns:p='u'><y/></y><y><y><p:y/></y></y></x>",
                "<x xmlns:p='u' P:a=''/>",
                "<XML:x/>",
                "<x><p:y/><y xmlns:p='u'/></x>",
            ],
        ),
        (
            "an attribute twice, under two prefixes",
            &[
                "<x xmlns:p='u' xmlns:q='u' p:a='' q:a=''/>",
                "<x xmlns:p='u' xmlns:q='&#117;' p:a='' q:a=''/>",
                "<x xmlns:p='u' xmlns:q='u' xmlns:r='v' p:a='' r:a='' q:a=''/>",
                "<x xmlns:p='u'><y xmlns:q='u' p:a='' q:a=''/></x>",
                "<x xmlns:p='u' xmlns:q='v'><y xmlns:p='v' q:a='' p:a=''/></x>",
            ],
        ),
        ("an attribute twice", &["<x xmlns='u' xmlns='v'/>", "<x xmlns:p='u' xmlns:p='u'/>"]),
        ("a prefix is bound to nothing", &["<x xmlns:p=''/>"]),
    ]);
}

#[test]
fn a_name_has_one_colon_at_most_and_no_reserved_prefix() {
    assert_refused(&[
        (
            "a colon too many in a name",
            &[
                "<:x/>",
                "<a:b:c/>",
                "<:/>",
                "<x :a=''/>",
                "<x a::b=''/>",
                "<x a:b:c=''/>",
                "<x xmlns::p='u'/>",
            ],
        ),
        ("no name where one must be", &["<a:/>", "<x a:=''/>", "<x xmlns:=''/>", "<a: b=''/>"]),
        (
            "a name begins with a character that can't begin one",
            &["<a:1/>", "<x a:-=''/>", "<a:\u{b7}/>", "<x xmlns:1='u'/>"],
        ),
        (
            "a reserved prefix is declared",
            &[
                "<x xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
                "<x xmlns:xml='u'/>",
                "<x xmlns:xmlns='u'/>",
                "<x xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>",
                "<x xmlns:XML='u'/>",
                "<x xmlns:xmlfoo='u'/>",
                "<x xmlns:xMl-='u'/>",
            ],
        ),
        ("an element with the prefix xmlns", &["<xmlns:x/>", "<x><xmlns:y xmlns:y='u'/></x>"]),
        (
            "a reserved namespace is declared",
            &[
                "<x xmlns='http://www.w3.org/XML/1998/namespace'/>",
                "<x xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
                "<x xmlns:p='http://www.w3.org/XML/1998/namespac&#101;'/>",
                "<x xmlns='http://www.w3.org/2000/xmlns/'/>",
                "<x xmlns:p='http://www.w3.org/2000/xmlns/'/>",
            ],
        ),
        ("an xml:id", &["<x xml:id='a'/>", "<x><y xml:id='1'/></x>"]),
    ]);
}

#[test]
fn namespaces_are_plain_uri_references() {
    for uri in [
        "u",
        "/",
        "/a//b",
        "//h",
        "//",
        "?",
        "#",
        "?a/b?c:d@e",
        "#a/b?c",
        "a?b#c",
        "urn:",
        "urn:a:b",
        "a+b-c.1:x",
        "http://example.org/a/b?c=d;e=f#g",
        "http://u:p@example.org:80/",
        "http://example.org:65535",
        "http://1.2.3.4/",
        "http://1.2.3/",
        "http://3com.com/",
        "http:///",
        "%41%e9",
        "~-._!$&apos;()*+,;=",
        "./a:b",
        "&#x61;",
        "&#97;&#58;b",
    ] {
        for frame in [format!("<x xmlns=\"{uri}\"/>"), format!("<x xmlns:p=\"{uri}\"/>")] {
            assert_eq!(verdict(&frame), Ok(()), "{frame}");
        }
    }
    assert_accepted(&["<x xmlns=''/>"]);
}

#[test]
fn what_is_no_plain_uri_is_no_namespace() {
    for uri in [
        " ",
        "a b",
        " u",
        "u ",
        "a\nb",
        "é",
        "a|b",
        "a\\b",
        "{a}",
        "a^b",
        "`",
        "&lt;",
        "&quot;",
        "a&amp;b",
        "?a=b&#38;c=d",
        "%",
        "%4",
        "%4g",
        "%é",
        "#a#b",
        ":",
        ":a",
        "1:a",
        "a_b:c",
        "//h:",
        "//h:x",
        "//h:123456",
        "//h:1:2",
        "//a@b@c",
        "//[::1]/",
        "a[b]",
        "#[",
        "//1.2.3.4x/",
        "//1.2.3.4.5/",
        "//1.2.3.456",
        "&#233;",
        "&#10;",
        "&#32;",
    ] {
        for frame in [format!("<x xmlns=\"{uri}\"/>"), format!("<x xmlns:p=\"{uri}\"/>")] {
            let reason = "a namespace that is no plain URI";
            assert_eq!(met(verdict(&frame)), Some(reason), "{frame}");
        }
    }
}

#[test]
fn depth_and_attributes_are_limited() {
    let nested = |depth: usize| "<x>".repeat(depth) + &"</x>".repeat(depth);
    let nested_empty = |depth: usize| "<x>".repeat(depth - 1) + "<y/>" + &"</x>".repeat(depth - 1);
    let wide = |count: usize| {
        (1..count).fold("<x xmlns:p='u'".to_owned(), |mut frame, index| {
            let _ = write!(frame, " a{index}=''");
            frame
        }) + "/>"
    };
    for max in [1, 2, 64] {
        let limits = Limits { depth_max: max, attributes_max: max, ..Limits::default() };
        let mut parser = Parser::new();
        let mut verdict = |frame: String| parser.parse(frame.as_bytes(), &limits).map(|_| ());
        assert_eq!(verdict(nested(max)), Ok(()));
        assert_eq!(verdict(nested_empty(max)), Ok(()));
        assert_eq!(verdict(nested(max + 1)), Err(Refusal::TooDeep(max)));
        assert_eq!(verdict(nested_empty(max + 1)), Err(Refusal::TooDeep(max)));
        assert_eq!(verdict(wide(max)), Ok(()));
        assert_eq!(verdict(wide(max + 1)), Err(Refusal::TooManyAttributes(max)));
        if max > 1 {
            assert_eq!(verdict(format!("<y>{}</y>", wide(max))), Ok(()));
            let inside = format!("<y>{}</y>", wide(max + 1));
            assert_eq!(verdict(inside), Err(Refusal::TooManyAttributes(max)));
        }
    }
    let lifted = Limits { depth_max: 0, attributes_max: 0, ..Limits::default() };
    let mut parser = Parser::new();
    assert!(parser.parse(nested(9_000).as_bytes(), &lifted).is_ok());
    assert!(parser.parse(wide(9_000).as_bytes(), &lifted).is_ok());
    assert_eq!(Refusal::TooDeep(64).to_string(), "Stanza nested too deep (limit 64 levels)");
    let too_many = Refusal::TooManyAttributes(64).to_string();
    assert_eq!(too_many, "Too many attributes (limit 64 on one element)");
    let no_xml = Refusal::NotXml { met: "", at: 0 };
    assert_eq!(no_xml.to_string(), "This is not a valid XML string");
}

/// A mark stands before what is no XML; the frame is what is left without it.
#[test]
fn what_is_no_xml_is_told_with_its_place() {
    for marked in [
        "¦",
        "¦text",
        " ¦<?pi?><x/>",
        "<!-- x -->¦<!DOCTYPE x><x/>",
        "¦<!-- x",
        "<!-- x ¦-- y --><x/>",
        "<x/>¦<y/>",
        "<x/> ¦y",
        "<x>¦",
        "<x><y></y>¦",
        "<x>&lt;¦&no;</x>",
        "<x>a¦]]>b</x>",
        "<x>¦<?pi?></x>",
        "<x>¦<!ELEMENT></x>",
        "<x>¦<![CDATA[ </x>",
        "<x><y>¦</x></y>",
        "<x></x ¦y></x>",
        "<¦1/>",
        "<¦>",
        "<a:b¦:c/>",
        "<z>¦<x",
        "<x y¦/>",
        "<x y=¦z/>",
        "<x y='1'¦z='2'/>",
        "<x y='¦<'/>",
        "<x y='a¦&'/>",
        "¦<x y='/>",
        "<z>¦<x y='1' y='2'/></z>",
        "<x>é\u{7f}¦\u{1}\u{1}</x>",
        "<x>é¦\u{ffff}</x>",
        "<z><¦p:x/></z>",
        "<x ¦p:y=''/>",
        "<x ¦xml:id='a'/>",
        "<¦xmlns:x/>",
        "<x xmlns:¦xml='u'/>",
        "<x xmlns:p='¦'/>",
        "<x xmlns='¦a b'/>",
        "<x xmlns:p='u' xmlns:q='u' p:¦a='' q:a=''/>",
        "¦<?xml version='1.0'",
        "<?xml ¦version/><x/>?>",
    ] {
        let at = marked.find('¦').expect("a mark");
        let marked_frame = marked.replace('¦', "");
        let told = match verdict(&marked_frame) {
            Err(Refusal::NotXml { at, .. }) => usize::try_from(at).expect("a short frame"),
            other => panic!("{marked}: {other:?}"),
        };
        let told_mark = format!("{}¦{}", &marked_frame[..told], &marked_frame[told..]);
        assert_eq!(told, at, "{marked} is told as {told_mark}");
    }
    let frame = b"<x>\xc3\xa9\xc3</x>";
    let Err(Refusal::NotXml { met: "not UTF-8", at: 5 }) = verdict(frame) else {
        panic!("{:?}", verdict(frame));
    };
}

#[test]
fn a_stanza_gives_its_parts_as_they_were_sent() {
    let frame = "\n<!--c--><m  toroom = 'a&amp;b'\n\tb=\"it's\">hi <b>you</b>&lt;<!--x--></m >\r\n";
    let mut parser = Parser::new();
    let Ok(stanza) = parser.parse(frame.as_bytes(), &Limits::default()) else { panic!() };
    assert_eq!(stanza.name(), "m");
    let attributes: Vec<Attribute<'_>> = stanza.attributes().collect();
    assert_eq!(
        attributes,
        [
            Attribute { name: "toroom", raw: "a&amp;b", quote: '\'' },
            Attribute { name: "b", raw: "it's", quote: '"' },
        ]
    );
    assert_eq!(stanza.value("toroom").as_deref(), Some("a&b"));
    assert_eq!(stanza.value("b").as_deref(), Some("it's"));
    assert_eq!(stanza.value("c"), None);
    assert_eq!(stanza.inner(), "hi <b>you</b>&lt;<!--x-->");
    assert_eq!(stanza.element(), frame[9..].trim_end());

    for (frame, name, inner) in [
        ("<x/>", "x", ""),
        ("<x></x>", "x", ""),
        ("<p:x xmlns:p='u'> </p:x>", "p:x", " "),
        ("<x><y a='1' b='2'/><y/></x>", "x", "<y a='1' b='2'/><y/>"),
        ("<x><x></x></x>", "x", "<x></x>"),
    ] {
        let Ok(stanza) = parser.parse(frame.as_bytes(), &Limits::default()) else { panic!() };
        assert_eq!((stanza.name(), stanza.inner(), stanza.element()), (name, inner, frame));
        assert_eq!(stanza.value("a"), None);
    }
}

#[test]
fn values_are_unescaped_and_normalised() {
    for (raw, value) in [
        ("", ""),
        ("plain", "plain"),
        (" a  b ", " a  b "),
        ("a\tb\nc\rd\r\ne\n\rf\r\n", "a b c d e  f "),
        ("&#9;&#10;&#13;&#32;", "\t\n\r "),
        ("&#13;\n\r&#10;", "\r  \n"),
        ("&lt;&gt;&amp;&quot;&apos;", "<>&\"'"),
        ("&amp;lt;&#38;amp;", "&lt;&amp;"),
        ("x&#x10FFFF;é&#233;y", "x\u{10ffff}éé\u{79}"),
    ] {
        let (found, _) = read(&format!("<x a='{raw}'/>"));
        assert_eq!(found.as_deref(), Some(value), "{raw:?}");
    }
    let mut parser = Parser::new();
    let limits = Limits::default();
    let Ok(stanza) = parser.parse(b"<x a=' plain ' b='a&amp;'/>", &limits) else { panic!() };
    assert!(matches!(stanza.value("a"), Some(Cow::Borrowed(" plain "))));
    assert!(matches!(stanza.value("b"), Some(Cow::Owned(_))));
}

#[test]
fn a_parse_allocates_nothing_once_the_scratch_has_grown() {
    let frames = [
        "<ping />",
        "<m toroom='lobby' back='1'>hello</m>",
        "<m toroom='lobby'>hello <b>you</b> &amp; <i a='1' b='2'><u/></i><!-- x --></m>",
    ];
    for frame in frames {
        let limits = Limits::default();
        let mut parser = Parser::new();
        let fresh = allocation_counter::measure(|| {
            assert!(parser.parse(frame.as_bytes(), &limits).is_ok());
        });
        assert!(fresh.count_total <= 2, "{frame}: {fresh:?}");
        let grown = allocation_counter::measure(|| {
            assert!(parser.parse(frame.as_bytes(), &limits).is_ok());
        });
        assert_eq!(grown.count_total, 0, "{frame}");
    }
}

/// What a frame must not do: take more memory than in proportion to its length. That it takes no
/// more time either, the fuzz target `stanza` finds out, with frames like these among its seeds.
#[test]
fn no_frame_of_64_kib_takes_much_memory() {
    let fill = |start: &str, piece: &dyn Fn(usize) -> String, end: &str| {
        let mut frame = start.to_owned();
        for index in 0.. {
            let piece = piece(index);
            if frame.len() + piece.len() + end.len() > 65_536 {
                return frame + end;
            }
            frame += &piece;
        }
        frame
    };
    let declared = fill("<x", &|index| format!(" xmlns:p{index}='u'"), "");
    let half = declared[..32_768].rsplit_once(' ').unwrap_or_default().0.to_owned() + ">";
    let frames = [
        fill("<x", &|index| format!(" a{index}=''"), "/>"),
        declared + "/>",
        fill(&half, &|index| format!("<p{}:y/>", index % 1_000), "</x>"),
        fill("<x>", &|_| "<y>".to_owned(), ""),
        fill("<x>", &|index| format!("<y xmlns:p='u{index}'>"), ""),
        fill("<x>", &|_| "]".to_owned(), "</x>"),
        fill("<x>", &|_| "&lt;".to_owned(), "</x>"),
        fill("<x>", &|_| "<!---->".to_owned(), "</x>"),
        fill("", &|_| "<!---->".to_owned(), "<x/>"),
        fill("<x a='", &|_| "&#9;".to_owned(), "'/>"),
        fill("<x a='", &|_| "é".to_owned(), "'/>"),
    ];
    let limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::default() };
    for frame in frames {
        let taken = allocation_counter::measure(|| {
            let _ = Parser::new().parse(frame.as_bytes(), &limits);
        });
        let max = 32 * frame.len() as u64;
        assert!(taken.bytes_total <= max, "{}… took {taken:?}", &frame[..20]);
    }
}
