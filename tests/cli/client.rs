//! `palabre client`: in a pipe, at a terminal and in TLS, and what its exit code says.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;

use palabre::limits::CLIENT_LINE_BYTES_MAX;
use rustix::process::Signal;

use crate::built::{ended, until};
use crate::house::{House, Talk, Terminal, addresses, announced, read_until};

#[test]
fn the_client_works_in_a_pipe() {
    let house = House::new();
    let server = house.serve(&["--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    let input = "/join tea\n<m r=\"tea\" b=\"1\">1 &lt; 2</m>\n/msg Ann it's \"me\" & <you>\n<ping />\nlast";
    let ran = house.run_with(&["client", "--connect", &address, "--nick", "Ann"], input);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    for line in [
        "<connect isok='1' msg='Your nickname is now : Ann'/>",
        "<joined room='tea' />",
        "<clients room='tea' nb='1'>\\n  <client name='Ann' />\\n</clients>",
        "<m f=\"Ann\" r=\"tea\">1 &lt; 2</m>",
        "<m f=\"Ann\">it's \"me\" &amp; &lt;you&gt;</m>",
        "<pong />",
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }

    // After /quit nothing is sent, and the input need not end.
    let ran =
        house.run_with(&["client", "--connect", &address], "/nick Bob\nhello\n/quit\n<ping />\n");
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(ran.out, "<connect isok='1' msg='Your nickname is now : Bob'/>\n");
    let told = "no room joined: /join R first, or /msg N text\npalabre: 1 line not sent\n";
    assert_eq!(ran.err, told);
}

#[test]
fn a_line_that_was_not_sent_is_no_success() {
    let house = House::new();
    let server = house.serve(&["--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    let client = |input: &[u8]| {
        let mut command = house.command(&["client", "--connect", &address, "--nick", "Ann"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let ran = child.wait_with_output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    for (input, told) in [
        (&b"/dance\n"[..], "/dance: no such command"),
        (b"hello\n", "no room joined"),
        (b"/msg Ann\n", "/msg N text"),
        (b"/join tea\n\xff\n", "not UTF-8"),
        (b"/join tea\n\xe2\x80\x8b/msg Bob secret\n", "U+200B"),
    ] {
        let (code, err) = client(input);
        assert!(code == Some(5) && err.contains(told), "{input:?}: {code:?} {err}");
        assert!(err.ends_with("palabre: 1 line not sent\n"), "{err}");
    }
    assert_eq!(client(b"/help\n/join tea\n//hi\n").0, Some(0));
    // A second login is a request that is refused.
    let (code, err) = client(b"<connect nickname='Bob' />\n<ping />\n");
    assert_eq!((code, &*err), (Some(5), "palabre: 1 request refused\n"));
    // The longest line, which is for no room, and one that is longer.
    let longest = [&vec![b'x'; CLIENT_LINE_BYTES_MAX - 1][..], b"\n"].concat();
    assert!(client(&longest).1.contains("no room joined"));
    assert!(client(&[b"x", &longest[..]].concat()).1.contains("a line over 16777216 bytes"));
    // A line without an end.
    let mut command = house.command(&["client", "--connect", &address]);
    let ran = command.stdin(File::open("/dev/zero").unwrap()).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(5) && err.contains("can't read the input"), "{ran:?}");
    // An output that takes nothing.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = house.command(&["client", "--connect", &address, "--nick", "Ann"]);
    let ran = command.stdout(full).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(1) && err.contains("can't write the output"), "{ran:?}");
}

#[test]
fn an_input_that_can_not_be_read_is_a_failure() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n");
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let directory = File::open("/").unwrap();
    let mut command = house.command(&["client", "--connect", &address, "--nick", "Ann"]);
    let ran = command.stdin(directory).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(err.starts_with("palabre: can't read the input: "), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_password_that_no_stanza_can_hold_is_not_sent() {
    let house = House::new();
    let long = "x".repeat(1025);
    for (input, told) in [
        ("a\0b\n", "control character (U+0000)"),
        ("a\x1b[Ab\n", "control character (U+001B)"),
        ("a\u{85}b\n", "control character (U+0085)"),
        ("a\u{fffe}b\n", "a character that XML forbids (U+FFFE)"),
        ("a\u{ffff}\n", "a character that XML forbids (U+FFFF)"),
        (&*long, "too long (limit 1024 bytes)"),
        ("", "the input has ended"),
    ] {
        // Nobody listens there, and nobody is asked.
        let client = ["client", "--connect", "127.0.0.1:1", "--nick", "Ann", "--password"];
        for arguments in [&client[..], &["passwd", "hash"]] {
            let ran = house.run_with(arguments, input);
            assert_eq!((ran.code, &*ran.out), (1, ""), "{arguments:?} {ran:?}");
            assert!(ran.err.contains(told), "{arguments:?} {ran:?}");
        }
    }
}

/// Ends what runs at a terminal, and waits until it is gone; gives the signal that it ended by.
fn end(terminal: &mut Terminal, signal: Signal) -> Option<i32> {
    terminal.signal(signal);
    ended(&mut terminal.child).signal()
}

#[test]
fn a_signal_at_a_password_leaves_a_terminal_that_echoes() {
    let house = House::new();
    let client = ["client", "--nick", "Ann", "--password"];
    for (arguments, prompt) in [
        (&["passwd", "hash"][..], "New password: "),
        (&["passwd", "add", "Ann", "--file", "accounts"], "New password: "),
        (&client, "Password: "),
    ] {
        for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
            let mut terminal = Terminal::new(&house, &[], arguments);
            until("it asks", || terminal.has_said(prompt).then_some(()));
            assert!(!terminal.echoes());
            // A shell that had stopped it has the terminal echo again.
            terminal.echo();
            terminal.signal(Signal::CONT);
            until("nothing is echoed", || (!terminal.echoes()).then_some(()));
            assert_eq!(end(&mut terminal, signal), Some(signal.as_raw()), "{arguments:?}");
            assert!(terminal.echoes(), "{arguments:?} {signal:?}");
        }
    }
}

#[cfg(feature = "editor")]
#[test]
fn a_signal_while_a_line_is_typed_leaves_a_terminal_that_echoes() {
    let house = House::new();
    let server = house.serve(&["--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut terminal = Terminal::new(&house, &[], &["client", "--connect", &address]);
        until("it is edited", || (!terminal.echoes()).then_some(()));
        terminal.keyboard.write_all(b"half a li").unwrap();
        let ended_by = end(&mut terminal, signal);
        // The editor may take it for a Ctrl-C that was typed, which is the end of the input.
        assert!(ended_by == Some(signal.as_raw()) || signal == Signal::INT, "{ended_by:?}");
        assert!(terminal.echoes(), "{signal:?}");
    }
}

#[test]
fn the_client_says_when_nobody_is_there() {
    let house = House::new();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ran = house.run(&["client", "--connect", &address]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains(&address) && ran.err.contains("start a server"), "{ran:?}");
    let ran = house.run(&["client", "--connect", "nowhere"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("HOST:PORT"), "{ran:?}");
}

#[test]
fn the_client_logs_in_with_a_password() {
    let house = House::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut sent = String::new();
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_string(&mut sent).unwrap();
        stream.write_all(b"<connect isok='1' msg='hi'/>\0").unwrap();
        sent
    });
    let arguments = ["client", "--connect", &address, "--nick", "A&B", "--password", "--rootpass"];
    let ran = house.run_with(&arguments, "it's <mine>\nroot\n/rooms\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    let login =
        "<connect nickname=\"A&amp;B\" password=\"it&apos;s &lt;mine&gt;\" rootpass=\"root\" />";
    assert_eq!(server.join().unwrap(), format!("{login}\0<getrooms />\0"));

    let ran = house.run(&["client", "--connect", &address, "--password"]);
    assert_eq!((ran.code, ran.err.contains("--nick")), (2, true), "{ran:?}");
}

#[test]
fn the_client_ends_with_the_server() {
    let house = House::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client =
        house.command(&["client", "--connect", &address]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all("<a>é\n".as_bytes()).unwrap();
    stream.write_all(b"</a>\0<b/>\0<unfinished").unwrap();
    drop(stream);
    // Its input is still open.
    let status = ended(&mut client);
    assert_eq!(status.code(), Some(1));
    let mut out = String::new();
    client.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "<a>é\\n</a>\n<b/>\n<unfinished\n");
    let mut err = String::new();
    client.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("closed the connection"), "{err}");
}

#[test]
fn the_client_says_by_its_exit_code_what_was_refused() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[limits]\nroombytes = 8\n");
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let mut holder = Talk::to(&address);
    assert!(holder.ask("<connect nickname='Ann' />").contains("isok='1'"));
    let exit = |nick: &str, input: &str| {
        let ran = house.run_with(&["client", "--connect", &address, "--nick", nick], input);
        (ran.code, ran.err)
    };
    assert_eq!(exit("Bob", "/rooms\n"), (0, String::new()));
    assert_eq!(exit("ann", "/rooms\n"), (4, "palabre: the login was refused\n".to_owned()));
    assert_eq!(exit("Bob", "/join ninebytes\n"), (5, "palabre: 1 request refused\n".to_owned()));
    assert_eq!(exit("ann", "/nick Bob\n/rooms\n").0, 5);
    assert_eq!(exit("Bob", "<policy-file-request/>\n/rooms\n").0, 0);
    let too_large = format!("<m c='Ann'>{}</m>\n", "x".repeat(70_000));
    let (code, told) = exit("Bob", &(too_large + &"/rooms\n".repeat(10)));
    assert!([1, 5].contains(&code), "{code} {told}");
}

#[cfg(feature = "editor")]
#[test]
fn what_is_being_typed_is_not_torn_by_what_arrives() {
    let house = House::new();
    let server = house.serve(&["--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    let mut other = Talk::to(&address);
    assert!(other.ask("<connect nickname='Bob' />").contains("isok='1'"));
    let arguments = ["client", "--connect", &address, "--nick", "Ann Lee"];
    let mut terminal = Terminal::new(&house, &[], &arguments);
    read_until(&terminal.screen, "isok='1'");
    terminal.keyboard.write_all(b"/msg Bob half").unwrap();
    // Bob hears nothing of it yet; what he says arrives above it.
    other.0.get_mut().write_all("<m c='Ann Lee'>\u{202e}in between</m>\0".as_bytes()).unwrap();
    let shown = read_until(&terminal.screen, "in between</m>").join("\n");
    assert!(shown.contains("\\u{202e}in between") && !shown.contains('\u{202e}'), "{shown}");
    terminal.keyboard.write_all(b" a line\r").unwrap();
    assert_eq!(other.next(), "<m f=\"Ann Lee\">half a line</m>");
    // Ctrl-D ends it.
    terminal.keyboard.write_all(b"\x04").unwrap();
    let status = ended(&mut terminal.child);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_password_is_typed_unseen() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[admin]\npassword = hunter2\n");
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let arguments = ["client", "--connect", &address, "--nick", "Ann", "--rootpass"];
    let mut terminal = Terminal::new(&house, &[], &arguments);
    until("it asks", || terminal.has_said("Root's password: ").then_some(()));
    // It asks a moment before it looks away.
    until("nothing is echoed", || (!terminal.echoes()).then_some(()));
    terminal.keyboard.write_all(b"hunter2\r").unwrap();
    let mut shown = read_until(&terminal.screen, "isok='1'");
    terminal.keyboard.write_all(b"<getinfo room='none' />\r").unwrap();
    shown.extend(read_until(&terminal.screen, "No room by that name"));
    assert!(!shown.join("\n").contains("hunter"), "{shown:#?}");
    terminal.keyboard.write_all(b"\x04").unwrap();
    let status = ended(&mut terminal.child);
    assert_eq!(status.code(), Some(5));
}

/// A server that takes nothing but TLS, with a certificate for this name.
#[cfg(feature = "tls")]
fn secure(name: &str) -> House {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let house = House::with(
        "[daemon]\nip = 127.0.0.1\nport = 0\n[tls]\ncertificate = c.pem\nkey = k.pem\nrequired = yes\n",
    );
    house.write("c.pem", &made.cert.pem());
    house.write("k.pem", &made.signing_key.serialize_pem());
    house
}

#[cfg(feature = "tls")]
#[test]
fn the_client_speaks_tls_with_whom_it_trusts() {
    let house = secure("chat.example");
    let other = rcgen::generate_simple_self_signed(["chat.example".to_owned()]).unwrap();
    house.write("other.pem", &other.cert.pem());
    let mut server = house.serve(&["run"]);
    let said = announced(&server);
    let address = addresses(&said).remove(0);
    // What is said on the console works, and nothing is said that does not.
    let hint = said.iter().find_map(|line| line.strip_prefix("try it:  ")).unwrap();
    let ran = house.program("sh", &["-c", hint]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("isok='1'"), "{ran:?}");
    assert!(!said.iter().any(|line| line.contains("| nc ")), "{said:#?}");
    let client = |options: &[&str]| {
        let all = [&["client", "--connect", &*address, "--nick", "Ann"], options].concat();
        house.run_with(&all, "/join tea\n<m r='tea' b='1'>hi</m>\n")
    };
    for options in [&["--tls", "--ca", "c.pem"][..], &["--tls", "--insecure"]] {
        let ran = client(options);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{options:?}: {ran:?}");
        assert!(ran.out.contains("isok='1'"), "{ran:?}");
        assert!(ran.out.ends_with("<m f=\"Ann\" r=\"tea\">hi</m>\n"), "{ran:?}");
    }
    for (options, told) in [
        (&["--tls"][..], "--ca FILE"),
        (&["--tls", "--ca", "other.pem"], "--ca FILE"),
        (&["--tls", "--ca", "k.pem"], "no certificate in it"),
        (&["--tls", "--ca", "none.pem"], "--ca none.pem: "),
        (&[], "127.0.0.1"),
    ] {
        let ran = client(options);
        assert_eq!(ran.code, 1, "{options:?}: {ran:?}");
        assert!(ran.err.contains(told) && !ran.out.contains("isok='1'"), "{options:?}: {ran:?}");
    }
    for options in [&["--ca", "c.pem"][..], &["--insecure"], &["--tls", "--insecure", "--ca", "x"]]
    {
        assert_eq!(client(options).code, 2, "{options:?}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_of_an_authority_has_to_be_for_the_name() {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["chat.example".to_owned()]).unwrap();
    let house = secure("chat.example");
    house.write("c.pem", &params.signed_by(&key, &authority).unwrap().pem());
    house.write("k.pem", &key.serialize_pem());
    house.write("ca.pem", &authority.pem());
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let arguments = ["client", "--connect", &address, "--tls", "--ca", "ca.pem"];
    let ran = house.run_with(&arguments, "<help/>\n");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("--tls-name NAME"), "{ran:?}");
    let named = [&arguments[..], &["--tls-name", "chat.example"]].concat();
    let ran = house.run_with(&named, "<help/>\n");
    assert!(ran.code == 0 && ran.out.starts_with("<help>"), "{ran:?}");
}
