//! The configuration: old files load as they are, new keys count, and whatever is wrong is
//! told with file, line, key and what would be right.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/manual.rs"]
mod manual;

use std::fs;
use std::path::PathBuf;

use palabre::config::{Arguments, Config, Error, ListenPlace, load};
use palabre::hub::{Lookalikes, RelayNames, RootPassword};
use palabre::limits::{CONFIG_FILE_BYTES_MAX, Limits};
use palabre::logging::Level;
use palabre::networks;
use tempfile::TempDir;

/// Loads `text` as `palabre.conf` of a fresh directory.
fn load_text(text: impl AsRef<[u8]>) -> Result<Config, Error> {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("palabre.conf"), text).unwrap();
    load(&Arguments { directory: directory.path().to_owned(), ..Arguments::default() })
}

fn good(text: &str) -> Config {
    load_text(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The errors of a file that must not load, one a line.
fn errors(text: impl AsRef<[u8]>) -> Vec<String> {
    match load_text(text.as_ref()) {
        Ok(_) => panic!("it loads: {}", String::from_utf8_lossy(text.as_ref())),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

fn addresses(config: &Config) -> Vec<String> {
    let mark = |optional| if optional { "?" } else { "" };
    config
        .listen
        .iter()
        .map(|listen| format!("{}{}", listen.address, mark(listen.optional)))
        .collect()
}

#[test]
fn a_file_has_a_largest_size() {
    let longest = "#".repeat(usize::try_from(CONFIG_FILE_BYTES_MAX).unwrap());
    good(&longest);
    let told = errors(longest + "#");
    assert!(told[0].contains("it is too long (limit 1048576 bytes)"), "{told:?}");
}

#[test]
fn without_a_file_the_defaults_listen_on_loopback() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("empty.conf");
    let config = Config::default();
    assert_eq!(config.source, None);
    assert_eq!(addresses(&config), ["127.0.0.1:2468"]);
    assert_eq!(config.settings.limits, Limits::default());
    assert_eq!(config.settings.root_password, RootPassword::None);
    assert_eq!(config.settings.policy_ports, "2468");

    // An empty file is a file: it listens everywhere.
    fs::write(&file, "").unwrap();
    let config = load(&Arguments { file: Some(file.clone()), ..Arguments::default() }).unwrap();
    assert_eq!(config.source, Some(file));
    assert_eq!(addresses(&config), ["0.0.0.0:2468", "[::]:2468?"]);
}

#[test]
fn the_sample_of_the_old_server_loads_as_it_is() {
    // Its modules are programs by now.
    let text = include_str!("data/old_server.conf");
    let told = errors(text);
    for (line, module) in told.iter().zip(["dbQueries", "helloworld", "simpleLogin"]) {
        let start =
            format!("palabre.conf:50: [modules] list: found {module}, and there is no such");
        assert!(line.starts_with(&start), "{line}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
    let commands = ["dbQueries", "helloworld", "simpleLogin"]
        .map(|module| format!("[module {module}]\ncommand = python3 '{module} 2.py' -v\n"));
    let config = good(&(text.to_owned() + &commands.concat()));
    let programs: Vec<_> = config
        .modules
        .iter()
        .map(|module| (module.name.as_str(), module.program.clone(), module.arguments.join("|")))
        .collect();
    assert_eq!(programs[1], ("helloworld", "python3".into(), "helloworld 2.py|-v".to_owned()));
    assert_eq!(addresses(&config), ["127.0.0.1:2468"]);
    assert_eq!(config.pid_file, Some(PathBuf::from("/var/run/palabre.pid")));
    assert_eq!(config.log_level, Level::Info);
    assert_eq!(config.log_file, None);
    assert_eq!(config.settings.root_password, RootPassword::None);
    assert_eq!(config.settings.domains, ["movies.example.org", "games.example.net"]);
    assert_eq!(config.settings.limits, Limits::default());
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn what_check_prints_loads_again_and_means_the_same() {
    let text = "[daemon]\nip = 127.0.0.1 [::1]:7\nport = 0\n[crossdomain]\nalloweddomains = *\npolicyport = 843\n\
        [database]\ndbRequest = SELECT 1\n   WHERE a LIKE 'b%%'\n[rooms]\nrelaynames = any\nfullroster = 3\n\
        [web]\nhttp = no\nhosts = *.A.example:1 ::1 b.\norigins = https://a.example *\nmetrics = 10.0.0.0/8 ::1\n\
        [limits]\nstanzabytes = 100\nidletime = 0\n[admin]\npassword = ";
    let first = good(text);
    let second = good(&first.to_ini());
    assert_eq!(second.listen, first.listen);
    assert_eq!(second.policy_port, first.policy_port);
    assert_eq!(second.settings, first.settings);
    assert_eq!(second.web, first.web);
    let values = |config: &Config| -> Vec<String> {
        config.to_ini().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(first.to_ini().contains("(line 19)\nstanzabytes = 100\n"), "{}", first.to_ini());
    assert!(first.to_ini().contains("(default)\ndepth = 64\n"), "{}", first.to_ini());
}

#[test]
fn passwords_are_shown_nowhere() {
    let text = "[admin]\npassword = hunter2\n[database]\ndbPassword = hunter3\n";
    let config = good(text);
    assert_eq!(config.settings.root_password, RootPassword::clear("hunter2"));
    let shown = format!("{}\n{config:?}\n{:?}", config.to_ini(), config.warnings);
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("\n# password = (set, not shown)\n"), "{shown}");

    for wrong in [
        "password hunter2",
        "password = hunter%2",
        "password = ;hunter2",
        "pasword = hunter2",
        "password = hunter2\npassword = hunter2",
        "password = hunter2\n  hunter2",
        "hunter2",
        "password = hun\u{1}ter2",
    ] {
        let shown = errors(format!("[admin]\n{wrong}\n")).join("\n");
        assert!(!shown.contains("hunter"), "{wrong:?}: {shown}");
    }
}

#[test]
fn keys_and_sections_are_taken_in_any_case_and_either_spelling() {
    let config = good(
        "\u{feff}[DAEMON]\r\nPort:2469\r\nIP : ::1\r\n\r\n[Logging]\r\nLogLevel=WARNING ; loud\r\n",
    );
    assert_eq!(addresses(&config), ["[::1]:2469"]);
    assert_eq!(config.log_level, Level::Warning);
    assert_eq!(
        good("[admin]\npassword = 50%% off\n").settings.root_password,
        RootPassword::clear("50% off")
    );
}

#[test]
fn listen_addresses() {
    for (text, expected) in [
        ("ip =", &["0.0.0.0:2468", "[::]:2468?"][..]),
        ("ip =\nport =", &["0.0.0.0:2468", "[::]:2468?"]),
        ("ip = *\nport = 1", &["0.0.0.0:1", "[::]:1?"]),
        ("ip = 0.0.0.0", &["0.0.0.0:2468"]),
        (
            "ip = 192.0.2.1, 2001:db8::1 127.0.0.1\nport = 7",
            &["192.0.2.1:7", "[2001:db8::1]:7", "127.0.0.1:7"],
        ),
        ("ip = localhost", &["127.0.0.1:2468", "[::1]:2468?"]),
        ("ip = * [::]", &["0.0.0.0:2468", "[::]:2468"]),
        ("ip = 127.0.0.1 0.0.0.0", &["0.0.0.0:2468"]),
        ("ip = 0.0.0.0 127.0.0.1:1 ::1", &["0.0.0.0:2468", "127.0.0.1:1", "[::1]:2468"]),
        ("ip = * [::1]:2468", &["0.0.0.0:2468", "[::]:2468?"]),
        ("ip = 127.0.0.1:0 127.0.0.1", &["127.0.0.1:0", "127.0.0.1:2468"]),
    ] {
        assert_eq!(addresses(&good(&format!("[daemon]\n{text}\n"))), expected, "{text}");
    }
    let config =
        good("[daemon]\nip = 127.0.0.1 127.0.0.1:7 [::1]:7\n[crossdomain]\npolicyport = 843\n");
    assert_eq!(config.settings.policy_ports, "2468,7");
    let policy: Vec<String> =
        config.policy_listen().iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(policy, ["127.0.0.1:843", "[::1]:843"]);
}

/// Neither the log nor the pid file is written over what the server reads.
#[test]
fn what_is_written_is_no_file_that_is_read() {
    let tls = "[tls]\ncertificate = c.pem\nkey = k.pem\n";
    for (key, what) in [
        ("accounts", "the accounts file"),
        ("c.pem", "the certificate"),
        ("k.pem", "the key of the certificate"),
        ("palabre.conf", "the configuration"),
    ] {
        for (place, line) in [("[logging]\nlogfile", 2), ("[daemon]\npidfile", 2)] {
            let text = format!("{place} = {key}\n[accounts]\nfile = accounts\n{tls}");
            let told = errors(&text);
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert!(told[0].starts_with(&format!("palabre.conf:{line}: ")), "{told:?}");
            assert!(told[0].contains(&format!("{what}, needs another file")), "{told:?}");
        }
    }
    assert!(errors("[logging]\nlogfile = x\n[daemon]\npidfile = x\n")[0].contains("the pid file"));
}

#[test]
fn arguments_override_the_file() {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("other.conf"),
        "[daemon]\nip = 192.0.2.1\n[logging]\nlogfile = a/b.log\n",
    )
    .unwrap();
    let arguments = Arguments {
        file: Some("other.conf".into()),
        listen: vec![
            ListenPlace::with_port("127.0.0.1:0").unwrap(),
            ListenPlace::with_port(":7").unwrap(),
        ],
        log_level: Some(Level::Debug),
        directory: directory.path().to_owned(),
    };
    let config = load(&arguments).unwrap();
    assert_eq!(addresses(&config), ["127.0.0.1:0", "0.0.0.0:7", "[::]:7?"]);
    assert_eq!(config.log_level, Level::Debug);
    assert_eq!(config.log_file, Some(directory.path().join("a/b.log")));
    assert_eq!(config.source, Some(directory.path().join("other.conf")));
    assert!(config.to_ini().contains("(--listen)\nip = 127.0.0.1:0 *:7\n"), "{}", config.to_ini());
}

#[test]
fn what_can_not_be_read_is_named() {
    let directory = TempDir::new().unwrap();
    let arguments = Arguments {
        file: Some("no.conf".into()),
        directory: directory.path().to_owned(),
        ..Arguments::default()
    };
    let error = load(&arguments).unwrap_err().to_string();
    assert!(error.starts_with("can't read the configuration no.conf: "), "{error}");
}

/// A hash as `palabre passwd hash` prints it.
const HASH: &str =
    "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";

/// Every key with values that are right.
const GOOD: [(&str, &str, &[&str]); 63] = [
    ("daemon", "startdaemon", &["true", "False", "yes", "no", "on", "off", "1", "0"]),
    ("daemon", "pidfile", &["", "/run/x.pid", "x.pid"]),
    ("daemon", "ip", &["", "127.0.0.1", "::1", "*"]),
    ("daemon", "port", &["", "0", "1", "65535"]),
    ("daemon", "stanzas", &["true", "no"]),
    (
        "daemon",
        "trustedproxies",
        &["", "127.0.0.1", "10.0.0.0/8, fd00::/8", "192.0.2.1\n  ::1", "0.0.0.0/0"],
    ),
    ("logging", "loglevel", &["debug", "info", "warning", "error", "critical", "INFO"]),
    ("logging", "logfile", &["", "./palabre.log"]),
    ("admin", "password", &["", "secret", "a b = c", "50%%", "$1$", HASH]),
    ("accounts", "file", &["accounts", "/etc/palabre/accounts"]),
    ("accounts", "guests", &["true"]),
    (
        "crossdomain",
        "alloweddomains",
        &["", "*", "a.example *.b.example", "a.example,192.0.2.1", "a\n  b"],
    ),
    ("crossdomain", "policyport", &["", "0", "843"]),
    ("database", "usedatabase", &["false"]),
    ("database", "checkpassword", &["false"]),
    ("database", "dbtype", &["", "mysql"]),
    ("database", "dbhost", &["", "192.0.2.4"]),
    ("database", "dbuser", &["", "root"]),
    ("database", "dbpassword", &["", "secret"]),
    ("database", "dbdatabase", &["", "test"]),
    ("database", "dbrequest", &["", "SELECT a = b FROM [LOGIN]", "SELECT 1\n  FROM t"]),
    ("modules", "list", &[""]),
    ("modules", "path", &["", "modules", "/usr/lib/palabre/modules:./modules"]),
    ("web", "http", &["true", "no"]),
    ("web", "websocket", &["true", "no"]),
    ("web", "page", &["true", "no"]),
    (
        "web",
        "hosts",
        &["", "*", "chat.example.org *.example.org:8080", "192.0.2.1, ::1\n  [::1]:80 a_b."],
    ),
    (
        "web",
        "origins",
        &["", "*", "https://example.org http://localhost:8000", "http://[::1]:8000\n  *"],
    ),
    ("web", "metrics", &["", "::1", "192.0.2.0/24 fd00::/8"]),
    // A certificate is of no use without a key.
    ("tls", "certificate", &[]),
    ("tls", "key", &[]),
    ("tls", "required", &["false"]),
    ("rooms", "relaynames", &["safe", "any", "Safe"]),
    ("rooms", "lookalikes", &["refuse", "allow", "Allow"]),
    ("rooms", "succession", &["oldest", "none", "None"]),
    ("rooms", "keep", &["root", "accounts", "operators"]),
    ("rooms", "fullroster", &["0", "1", "4294967295"]),
    ("store", "file", &["", "/var/lib/palabre/palabre.db"]),
    ("limits", "stanzabytes", &["64", "65536", "268435456"]),
    ("limits", "depth", &["0", "1", "4294967295"]),
    ("limits", "attributes", &["0", "1"]),
    ("limits", "nickbytes", &["1", "64"]),
    ("limits", "roombytes", &["1", "128"]),
    ("limits", "params", &["0", "64"]),
    ("limits", "parambytes", &["1", "4096"]),
    ("limits", "paramstotal", &["1", "67108864"]),
    ("limits", "roomsperclient", &["0", "64"]),
    ("limits", "rooms", &["0", "65536"]),
    ("limits", "roomdepth", &["0", "8"]),
    ("limits", "sessions", &["0", "100000"]),
    ("limits", "sessionsperaddress", &["0", "256"]),
    ("limits", "logintime", &["0", "300"]),
    ("limits", "idletime", &["0", "300"]),
    ("limits", "stanzarate", &["0", "200"]),
    ("limits", "stanzaburst", &["0", "1000"]),
    ("limits", "byterate", &["0", "1", "262144"]),
    ("limits", "byteburst", &["0", "1", "1048576"]),
    ("limits", "failedlogins", &["0", "20"]),
    ("limits", "backlog", &["65536", "1048576", "1099511627776"]),
    ("limits", "backlogsoft", &["1", "1048576"]),
    ("limits", "backlogtotal", &["1048576", "1099511627776"]),
    ("limits", "listbytes", &["64", "262144"]),
    ("limits", "listrate", &["0", "4194304"]),
];

/// Values that are wrong, with what is found and a part of what would be right.
const BAD: [(&str, &str, &str, &str, &str); 59] = [
    ("daemon", "startdaemon", "maybe", "\"maybe\"", "true or false"),
    ("daemon", "startdaemon", "", "nothing", "true or false"),
    ("daemon", "pidfile", "%(home)s/x", "\"%(\"", "\"%%\""),
    ("daemon", "ip", "example.org", "\"example.org\"", "IPv4 or IPv6 address"),
    ("daemon", "ip", "127.0.0.1 127.0.0.1", "\"127.0.0.1\"", "each address once"),
    ("daemon", "ip", "127.0.0.1:99999", "\"127.0.0.1:99999\"", "from 0 to 65535"),
    ("daemon", "port", "24a8", "\"24a8\"", "from 0 (a free one) to 65535"),
    ("daemon", "port", "65536", "\"65536\"", "65535"),
    ("daemon", "port", "-1", "\"-1\"", "65535"),
    ("daemon", "port", "2468 # main", "\"2468 # main\"", "65535"),
    ("daemon", "stanzas", "raw", "\"raw\"", "true or false"),
    ("daemon", "trustedproxies", "proxy.example", "\"proxy.example\"", "addresses or networks"),
    ("daemon", "trustedproxies", "10.1.2.3/8", "\"10.1.2.3/8\"", "10.0.0.0/8 for the network"),
    ("logging", "loglevel", "chatty", "\"chatty\"", "one of debug, info, warning, error, critical"),
    ("logging", "loglevel", "", "nothing", "one of debug"),
    ("logging", "logfile", "a\n  b", "goes on in an indented line", "on one line"),
    ("admin", "password", "a%b", "a single", "\"%%\""),
    ("admin", "password", "$argon2id$v=19$m=4096", "a value", "as palabre passwd makes it"),
    (
        "admin",
        "password",
        "$argon2id$v=19$m=1048576,t=3,p=4$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ",
        "a value",
        "at most m=65536",
    ),
    ("accounts", "file", "", "nothing", "without which everybody may log in"),
    ("accounts", "file", "\"\"", "nothing", "a path, or no such line"),
    ("tls", "certificate", "", "nothing", "without which there is no TLS"),
    ("tls", "key", "", "nothing", "without which there is no TLS"),
    ("accounts", "file", "a\n  b", "goes on in an indented line", "on one line"),
    ("accounts", "guests", "some", "\"some\"", "true or false"),
    (
        "crossdomain",
        "alloweddomains",
        "http://example.org",
        "\"http://example.org\"",
        "without a scheme",
    ),
    ("crossdomain", "alloweddomains", "a;'<b>", "\"a;'<b>\"", "separated by blanks"),
    ("crossdomain", "policyport", "0x1", "\"0x1\"", "65535"),
    ("database", "usedatabase", "perhaps", "\"perhaps\"", "true or false"),
    ("database", "checkpassword", "2", "\"2\"", "true or false"),
    ("modules", "list", "a = b", "\"=\"", "separated by commas"),
    ("web", "http", "80", "\"80\"", "true or false"),
    ("web", "hosts", "https://a.example/", "\"https://a.example/\"", "scheme: a.example"),
    ("web", "hosts", "a.example b/c", "\"b/c\"", "without a path: b"),
    ("web", "origins", "example.org", "\"example.org\"", "https://example.org"),
    ("web", "origins", "https://a.example/", "\"https://a.example/\"", "has no path"),
    ("web", "metrics", "127.0.0.1:80", "\"127.0.0.1:80\"", "addresses or networks"),
    ("tls", "certificate", "a.pem", "a certificate without a key", "[tls] key"),
    ("tls", "key", "a.pem", "a key without a certificate", "[tls] certificate"),
    ("rooms", "relaynames", "all", "\"all\"", "safe or any"),
    ("rooms", "lookalikes", "no", "\"no\"", "refuse or allow"),
    ("rooms", "succession", "eldest", "\"eldest\"", "oldest or none"),
    ("rooms", "keep", "all", "\"all\"", "root, accounts or operators"),
    ("rooms", "fullroster", "many", "\"many\"", "a number from 0 to 4294967295"),
    ("limits", "stanzabytes", "0", "\"0\"", "a number of bytes from 64 to"),
    ("limits", "stanzabytes", "63", "\"63\"", "from 64"),
    ("limits", "stanzabytes", "64k", "\"64k\"", "digits only"),
    ("limits", "depth", "-1", "\"-1\"", "from 0"),
    ("limits", "attributes", "4294967296", "\"4294967296\"", "to 4294967295"),
    ("limits", "nickbytes", "0", "\"0\"", "from 1"),
    ("limits", "roombytes", "0", "\"0\"", "from 1"),
    ("limits", "params", "", "nothing", "a number from 0"),
    ("limits", "parambytes", "+1", "\"+1\"", "digits only"),
    ("limits", "logintime", "5m", "\"5m\"", "digits only"),
    ("limits", "stanzarate", "99999999999999999999", "\"99999999999999999999\"", "to 4294967295"),
    ("limits", "backlog", "63", "\"63\"", "from 64"),
    ("limits", "backlogsoft", "0", "\"0\"", "from 1"),
    ("limits", "backlogtotal", "1099511627777", "\"1099511627777\"", "to 1099511627776"),
    ("limits", "idletime", "1.5", "\"1.5\"", "digits only"),
];

#[test]
fn every_key_takes_its_good_values() {
    for (section, key, values) in GOOD {
        for value in values {
            good(&format!("[{section}]\n{key} = {value}\n"));
        }
    }
    // The list above is all there is.
    let ini = Config::default().to_ini();
    let known = ini.lines().filter(|line| line.contains(" =") && !line.starts_with('#')).count();
    // These would mean more, were they written.
    let silent = [
        "\n# guests = false\n",
        "\n# checkpassword = true\n",
        "\n# file =\n",
        "\n# certificate =\n",
        "\n# key =\n",
    ];
    assert_eq!(known + silent.iter().filter(|key| ini.contains(**key)).count(), GOOD.len());
}

#[test]
fn a_wrong_value_names_file_line_key_and_what_would_be_right() {
    for (section, key, value, found, needs) in BAD {
        let errors = errors(format!("# line 1\n[{section}]\n\n{key} = {value}\n"));
        let place = format!("palabre.conf:4: [{section}] {key}: found ");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&place), "{key} = {value}: {}", errors[0]);
        assert!(errors[0].contains(found), "{key} = {value}: {}", errors[0]);
        assert!(errors[0].contains(needs), "{key} = {value}: {}", errors[0]);
    }
}

#[test]
fn an_unknown_name_gets_the_nearest_known_one() {
    for (text, error) in [
        (
            "[daemon]\nprot = 1",
            "palabre.conf:2: [daemon] prot: found an unknown key, needs one of startdaemon, pidfile, ip, port, stanzas, trustedproxies; the nearest name is port",
        ),
        (
            "[deamon]\nport = 1",
            "palabre.conf:1: [deamon] found an unknown section, needs one of [daemon], [logging], [admin], [accounts], [crossdomain], [database], [modules], [web], [tls], [rooms], [store], [limits], [module NAME], [room NAME]; the nearest name is [daemon]",
        ),
        (
            "[daemon]\nlogfile = x",
            "palabre.conf:2: [daemon] logfile: found an unknown key, needs one of startdaemon, pidfile, ip, port, stanzas, trustedproxies; the nearest name is [logging] logfile",
        ),
        (
            "[modules]\nstanzabyte = 1",
            "palabre.conf:2: [modules] stanzabyte: found an unknown key, needs one of list, path; the nearest name is [limits] stanzabytes",
        ),
        (
            "[modules]\nxyz = 1",
            "palabre.conf:2: [modules] xyz: found an unknown key, needs one of list, path",
        ),
        (
            "port = 1",
            "palabre.conf:1: port: found a key before the first section, needs a line \"[section]\" above it; the nearest name is [daemon] port",
        ),
    ] {
        assert_eq!(errors(text), [error]);
    }
}

#[test]
fn what_is_no_entry_is_told_with_its_line() {
    for (text, error) in [
        (
            "[daemon]\nport 2468",
            "palabre.conf:2: [daemon] port: found a line without \"=\", needs a line \"key = value\"",
        ),
        (
            "[daemon]\n= 2468",
            "palabre.conf:2: [daemon] found no key before \"=\", needs a line \"key = value\"",
        ),
        (
            "[daemon",
            "palabre.conf:1: found a section that does not end in \"]\", needs a line \"[section]\"",
        ),
        (
            "[daemon]\n  port = 1",
            "palabre.conf:2: [daemon] found an indented line, and no value above it goes on, needs no white space at the start of the line",
        ),
        (
            "[daemon]\nport = ; x",
            "palabre.conf:2: [daemon] port: found a value that begins with \";\", needs an empty value, and the comment on a line of its own",
        ),
        (
            "[daemon]\nport = 1\nPORT = 2",
            "palabre.conf:3: [daemon] PORT: found the key a second time, needs it once; the first is in line 2",
        ),
    ] {
        assert_eq!(errors(text), [error]);
    }
    assert_eq!(
        errors(b"[daemon]\npidfile = /tmp/caf\xE9"),
        ["palabre.conf:2: [daemon] found bytes that are no UTF-8, needs a file saved as UTF-8"]
    );
}

#[test]
fn all_errors_of_a_file_are_told_in_order() {
    let errors = errors(
        "[daemon]\nport = x\nprot = 1\n[daemom]\na = b\n[limits]\ndepth\nbacklog = 100\n[daemon]\nport = 2\n",
    );
    let lines: Vec<&str> = errors.iter().map(|error| error.split(' ').next().unwrap()).collect();
    let expected = ["2", "3", "4", "7", "8", "10"].map(|line| format!("palabre.conf:{line}:"));
    assert_eq!(lines, expected, "{errors:#?}");
}

#[test]
fn limits_are_checked_against_each_other() {
    let wrong = |text: &str, error: &str| {
        let errors = errors(format!("[limits]\n{text}\n"));
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].ends_with(error), "{errors:#?}");
    };
    wrong("backlog = 1000", "[limits] backlog: found 1000, needs at least stanzabytes, 65536");
    wrong(
        "backlogsoft = 1048577",
        "[limits] backlogsoft: found 1048577, needs at most backlog, 1048576",
    );
    wrong(
        "backlogtotal = 1000",
        "[limits] backlogtotal: found 1000, needs at least backlog, 1048576",
    );
    wrong(
        "listbytes = 262145",
        "[limits] listbytes: found 262145, needs at most a quarter of backlog, 262144",
    );

    // What is not in the file follows what is.
    let limits = good("[limits]\nbacklog = 65536\n").settings.limits;
    assert_eq!((limits.backlog_soft_bytes_max, limits.backlog_bytes_max), (65_536, 65_536));
    assert_eq!(limits.list_bytes_max, 16_384);
    let limits = good("[limits]\nbacklog = 4194304\n").settings.limits;
    assert_eq!(limits.list_bytes_max, 1_048_576);
    let limits = good("[limits]\nbacklog = 4194304\nlistbytes = 300000\n").settings.limits;
    assert_eq!(limits.list_bytes_max, 300_000);
    let limits = good("[limits]\nstanzabytes = 1000000000\n").settings.limits;
    assert_eq!(
        (limits.backlog_bytes_max, limits.backlog_total_bytes_max),
        (1_000_000_000, 1_000_000_000)
    );

    let warnings = good("[limits]\nbacklog = 65536\n").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("palabre.conf:2: [limits] backlog: below "), "{warnings:?}");
}

#[test]
fn a_policy_port_that_is_taken_is_refused() {
    let errors = errors("[crossdomain]\npolicyport = 2468\n");
    assert!(
        errors[0]
            .starts_with("palabre.conf:2: [crossdomain] policyport: found 2468, needs a port that"),
        "{errors:?}"
    );
}

#[test]
fn accounts_are_found_from_where_the_configuration_was_looked_for() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("palabre.conf"), "[accounts]\nfile = people\nguests = yes\n")
        .unwrap();
    let arguments = Arguments { directory: directory.path().to_owned(), ..Arguments::default() };
    let config = load(&arguments).unwrap();
    assert_eq!(config.accounts.file, Some(directory.path().join("people")));
    assert!(config.accounts.guests && config.accounts.needs_worker());
    assert!(config.accounts.asks_logins());

    let config = good("");
    assert_eq!(config.accounts, Default::default());
    assert!(!config.accounts.needs_worker() && !config.settings.root_password.is_hash());
}

#[test]
fn a_root_password_that_is_a_hash_is_asked_about() {
    let config = good(&format!("[admin]\npassword = {HASH}\n"));
    assert!(config.settings.root_password.is_hash());
    assert_eq!(config.accounts.root.as_ref().map(|hash| hash.as_str()), Some(HASH));
    assert!(config.accounts.needs_worker() && !config.accounts.asks_logins());
    let shown = format!("{}{config:?}", config.to_ini());
    assert!(!shown.contains("argon2id"), "{shown}");
}

#[cfg(feature = "sqlite")]
#[test]
fn the_database_has_the_old_servers_keys() {
    let config = good(
        "[database]\nusedatabase = true\ncheckpassword = true\ndbType = SQLite\n\
         dbDatabase = /srv/people.db\n\
         dBRequest = SELECT * FROM people WHERE nick = '[LOGIN]' AND secret = MD5([PASSWORD])\n",
    );
    let database = config.accounts.database.as_ref().unwrap();
    assert_eq!(database.database, "/srv/people.db");
    assert_eq!(database.request.sql, "SELECT * FROM people WHERE nick = ?1 AND secret = MD5(?2)");
    assert!(config.accounts.asks_logins());
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(good(&config.to_ini()).accounts, config.accounts);
}

/// Where a file says that logins are checked, something has to check them; where it says nothing,
/// everybody may log in, as with the old server.
#[test]
fn what_looks_closed_is_closed() {
    let nobody = "found true, and nothing that checks a login, needs false, which lets";
    let without =
        "found no, without accounts, needs yes, which lets everybody in, or [accounts] file";
    for (text, line, expected) in [
        ("[database]\ncheckpassword = true\n", 2, format!("[database] checkpassword: {nobody}")),
        (
            "[database]\nusedatabase = false\ncheckpassword = yes\ndbRequest = SELECT 1\n",
            3,
            format!("[database] checkpassword: {nobody}"),
        ),
        ("[accounts]\nguests = no\n", 2, format!("[accounts] guests: {without}")),
        (
            "[accounts]\nfile =\nguests = off\n",
            2,
            "[accounts] file: found nothing, needs a path, or no such line, without".to_owned(),
        ),
        (
            "[accounts]\nguests = no\n[database]\nusedatabase = true\ncheckpassword = false\n",
            2,
            format!("[accounts] guests: {without}"),
        ),
    ] {
        let told = errors(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        let start = format!("palabre.conf:{line}: {expected}");
        assert!(told[0].starts_with(&start), "{text}: {told:?}");
    }
    let request = "[database]\ndbType = SQLite\ndbRequest = SELECT 1\n";
    let told = &good(request).warnings[..];
    assert!(matches!(told, [one] if one.contains("dbRequest: nothing asks it")), "{told:?}");
    let off = format!("{request}usedatabase = false\n");
    assert_eq!(good(&off).warnings, Vec::<String>::new());
    for text in ["", "[accounts]\nguests = yes\n", "[database]\ncheckpassword = no\n"] {
        assert!(!good(text).settings.logins_checked, "{text}");
    }
    // A plugin may check them: whether it does is seen when it runs.
    let plugin = "[modules]\nlist = one\n[module one]\ncommand = true\n";
    for text in [
        "[accounts]\nguests = no\n",
        "[database]\ncheckpassword = true\n",
        "[accounts]\nfile = people\n",
        "[accounts]\nfile = people\nguests = yes\n",
    ] {
        assert!(good(&(text.to_owned() + plugin)).settings.logins_checked, "{text}");
    }
    assert!(!good(plugin).settings.logins_checked);
    let config = good("[accounts]\nfile = people\n[limits]\nattributes = 1\n");
    let told =
        "palabre.conf:4: [limits] attributes: with 1 nobody can give a nickname and a password";
    assert_eq!(config.warnings, [told]);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_that_could_not_be_asked_is_refused() {
    let request = "SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]";
    let told = |lines: &str| errors(format!("[database]\nusedatabase = true\n{lines}"));
    for (lines, expected) in [
        (
            "dbType = sqlite\ndbDatabase = a.db\ndbRequest = SELECT [LOGIN] -- [PASSWORD]"
                .to_owned(),
            "palabre.conf:5: [database] dbRequest: found [PASSWORD] within a comment, needs it where",
        ),
        (
            format!("dbType = sqlite\ndbDatabase = a.db\ndbRequest = {}", "SELECT 1"),
            "palabre.conf:5: [database] dbRequest: found a request without [LOGIN], needs",
        ),
        (
            "dbType = sqlite\ndbDatabase = a.db".to_owned(),
            "palabre.conf:2: [database] usedatabase: found true, without dbRequest, needs",
        ),
        (
            format!("dbType = sqlite\ndbRequest = {request}"),
            "palabre.conf:2: [database] usedatabase: found true, without dbDatabase, needs [database] dbDatabase as well, the file",
        ),
        (
            format!("dbDatabase = a.db\ndbRequest = {request}"),
            "palabre.conf:2: [database] usedatabase: found true, without dbType, needs [database] dbType as well, one of",
        ),
        (
            format!("dbType = odbc\ndbDatabase = a\ndbRequest = {request}"),
            "palabre.conf:3: [database] dbType: found \"odbc\", needs one of those that this palabre has in it: sqlite",
        ),
        (
            format!("dbType = sqlite\ndbDatabase = a\ndbHost = a b\ndbRequest = {request}"),
            "palabre.conf:5: [database] dbHost: found \"a b\", needs a host",
        ),
        (
            format!(
                "dbType = sqlite\ndbDatabase = a\ndbRequest = {request}\n[accounts]\nguests = yes"
            ),
            "palabre.conf:7: [accounts] guests: found yes, with a database, needs no, or no [database]",
        ),
    ] {
        let errors = told(&lines);
        assert_eq!(errors.len(), 1, "{lines}\n{errors:#?}");
        assert!(errors[0].starts_with(expected), "{lines}\n{errors:#?}");
    }
}

#[cfg(not(feature = "mysql"))]
#[test]
fn a_kind_of_database_that_is_not_built_in_is_refused() {
    let errors = errors(
        "[database]\nusedatabase = true\ndbType = mysql\ndbUser = a\ndbDatabase = a\n\
         dbRequest = SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]\n",
    );
    let expected = "palabre.conf:3: [database] dbType: found \"mysql\", needs a palabre with mysql in it (cargo build --release --features mysql)";
    assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:#?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_nick_that_is_compared_as_a_pattern_is_a_warning() {
    let config = good(
        "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = a.db\n\
         dbRequest = SELECT 1 FROM t WHERE n LIKE [LOGIN] AND p = [PASSWORD]\n",
    );
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let expected = "palabre.conf:5: [database] dbRequest: [LOGIN] is compared as a pattern";
    assert!(config.warnings[0].starts_with(expected), "{:?}", config.warnings);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_comment_in_a_request_is_a_warning() {
    let config = good(
        "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = a.db\n\
         dbRequest = SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD] -- AND active\n",
    );
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let expected = "palabre.conf:5: [database] dbRequest: a part of it is a comment";
    assert!(config.warnings[0].starts_with(expected), "{:?}", config.warnings);
}

#[test]
fn a_database_is_not_asked_when_passwords_are_not_checked() {
    let config = good("[database]\nusedatabase = true\ncheckpassword = false\n");
    assert_eq!(
        config.warnings,
        ["palabre.conf:2: [database] usedatabase: nothing asks it while checkpassword is false"]
    );
    assert!(!config.accounts.needs_worker());
}

#[test]
fn new_keys_reach_the_hub() {
    let config = good(
        "[rooms]\nrelaynames = any\nlookalikes = allow\nfullroster = 7\n[limits]\ndepth = 3\nstanzarate = 0\n",
    );
    assert_eq!(config.settings.relay_names, RelayNames::Any);
    assert_eq!(config.settings.lookalikes, Lookalikes::Allow);
    // The worker holds guests to it.
    assert_eq!(config.accounts.lookalikes, Lookalikes::Allow);
    assert_eq!(config.settings.full_roster_members, 7);
    assert_eq!(config.settings.limits.depth_max, 3);
    assert_eq!(config.settings.limits.stanza_rate_per_s, 0);
}

#[test]
fn without_a_word_everything_is_taken_and_nobody_is_trusted() {
    for web in [Config::default().web, good("").web] {
        assert!(web.stanzas && web.http && web.websocket && web.page);
        assert_eq!(web.hosts, []);
        assert_eq!(web.origins, Vec::<String>::new());
        assert_eq!(web.metrics, networks::loopback());
        assert_eq!(web.trusted_proxies, []);
        assert_eq!(web.tls, None);
    }
}

#[test]
fn what_the_listener_takes_and_from_whom() {
    let web = good(
        "[daemon]\nstanzas = no\ntrustedproxies = 192.0.2.1 ::ffff:10.0.0.0/104\n\
         [web]\npage = no\nhosts = Chat.example. *.example:80\norigins = HTTPS://Example.org:443, http://localhost:8000\nmetrics =\n",
    )
    .web;
    assert!(!web.stanzas && web.http && web.websocket && !web.page);
    assert_eq!(web.origins, ["https://example.org", "http://localhost:8000"]);
    let hosts: Vec<String> = web.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["chat.example", "*.example:80"]);
    assert_eq!(web.metrics, []);
    let trusted: Vec<String> = web.trusted_proxies.iter().map(networks::show).collect();
    assert_eq!(trusted, ["192.0.2.1", "10.0.0.0/8"]);
}

#[test]
fn without_http_there_is_no_web_socket_and_without_it_no_page() {
    let web = good("[web]\nhttp = no\n").web;
    assert!(!web.http && !web.websocket && !web.page);
    let web = good("[web]\nwebsocket = no\n").web;
    assert!(web.http && !web.websocket && !web.page);
    let shown = good("[web]\nhttp = no\n").to_ini();
    assert!(shown.contains("(follows http)\nwebsocket = false\n"), "{shown}");

    for (text, error) in [
        (
            "[web]\nhttp = no\nwebsocket = yes",
            "palabre.conf:3: [web] websocket: found true, with http = false, needs http = true as well: a WebSocket begins as HTTP",
        ),
        (
            "[web]\nwebsocket = no\npage = yes",
            "palabre.conf:3: [web] page: found true, with no WebSocket, needs http = true and websocket = true as well: the page connects by WebSocket",
        ),
        (
            "[daemon]\nstanzas = no\n[web]\nhttp = no",
            "palabre.conf:2: [daemon] stanzas: found false, with no WebSocket, needs true, or [web] http and websocket: nobody could connect",
        ),
    ] {
        assert_eq!(errors(text), [error]);
    }
}

#[cfg(feature = "tls")]
#[test]
fn certificate_and_key_are_found_from_where_the_configuration_was_looked_for() {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("palabre.conf"),
        "[tls]\ncertificate = tls/chain.pem\nkey = /etc/key.pem\nrequired = yes\n",
    )
    .unwrap();
    let config =
        load(&Arguments { directory: directory.path().to_owned(), ..Arguments::default() });
    let tls = palabre::config::Tls {
        certificate: directory.path().join("tls/chain.pem"),
        key: PathBuf::from("/etc/key.pem"),
        required: true,
    };
    assert_eq!(config.unwrap().web.tls, Some(tls));
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_certificate_without_tls_in_the_program_is_refused() {
    assert_eq!(
        errors("[tls]\ncertificate = a.pem\nkey = b.pem\n"),
        [
            "palabre.conf:2: [tls] certificate: found a certificate, needs a palabre with TLS in it: cargo build --release --features tls"
        ]
    );
}

#[test]
fn tls_is_not_required_without_a_certificate() {
    assert_eq!(
        errors("[tls]\nrequired = yes\n"),
        [
            "palabre.conf:2: [tls] required: found true, without a certificate, needs [tls] certificate and key as well"
        ]
    );
}

#[test]
fn the_pid_file_of_a_file_with_errors_is_known() {
    match load_text("[daemon]\npidfile = /run/x.pid\nport = x\n") {
        Err(Error::Invalid { pid_file, .. }) => {
            assert_eq!(pid_file, Some(PathBuf::from("/run/x.pid")))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_needs_a_restart_is_named() {
    let running = good("[daemon]\nport = 1\n");
    let changed =
        good("[daemon]\nport = 2\npidfile = /run/x.pid\n[crossdomain]\npolicyport = 843\n");
    let names = ["[daemon] ip and port", "[daemon] pidfile", "[crossdomain] policyport"];
    assert_eq!(changed.needs_restart(&running), names);
    assert!(running.needs_restart(&running).is_empty());
}

#[test]
fn modules_have_a_section_each() {
    let config = good(
        "[module b]\nenvironment = A=1 'B=two words'\n[modules]\nlist = b\n[module a]\n\
         command = ./run --fast\nrestart = no\ntimeout = 30\n[module b]\ncommand = b\n",
    );
    let [module] = &config.modules[..] else { panic!("{:?}", config.modules) };
    assert_eq!((module.restart, module.timeout_s), (true, 5));
    let environment: Vec<String> =
        module.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(environment, ["PALABRE_PLUGIN=b", "A=1", "B=two words"]);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let again = good(&config.to_ini());
    assert_eq!(again.modules[0].environment, module.environment);
    assert!(again.to_ini().contains("[module a]\ncommand = ./run --fast\nrestart = false\n"));
    for (text, hint) in [
        ("[module a]\ntimeout = 0\n", "needs seconds from 1 to 300"),
        ("[module a]\ntimeout = 301\n", "needs seconds from 1 to 300"),
        ("[module a]\nrestart = maybe\n", "needs true or false"),
        ("[module a]\ncommand = 'open\n", "quotes closed"),
        ("[module a]\nenvironment = =x\n", "NAME=value pairs"),
        ("[module a]\ncomand = x\n", "the nearest name is command"),
        ("[module a]\ncommand = x\ncommand = y\n", "it once; the first is in line 2"),
        ("[modules]\nlist = a a\n", "needs each module once"),
        ("[modules]\nlist = accounts\n", "this one is the server's own"),
        ("[modules]\nlist = a\n", "or a section [module a] with a command"),
    ] {
        let told = errors(text);
        assert!(told[0].contains(hint), "{text}: {told:?}");
    }
}

#[test]
fn every_configuration_in_the_documents_is_right() {
    let mut blocks = 0;
    for (path, text) in manual::documents() {
        for block in text.split("\n```ini\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            // Plugins have programs, and a build without TLS takes no certificate.
            if block.contains("[modules]") || (block.contains("[tls]") && !cfg!(feature = "tls")) {
                continue;
            }
            let loaded = load_text(block);
            assert!(loaded.is_ok(), "{path}: {:?}\n{block}", loaded.err());
            blocks += 1;
        }
    }
    assert!(blocks > 4, "{blocks} blocks");
}

#[test]
fn the_hosts_of_the_manual_are_taken() {
    assert_eq!(good(&manual::block("hosts")).web.hosts[0].to_string(), "chat.example.org");
}

#[test]
fn paths_in_a_file_are_relative_to_the_file() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("conf")).unwrap();
    let mut text = String::from(
        "[daemon]\npidfile = p.pid\n[logging]\nlogfile = ../l.txt\n[accounts]\nfile = a\n\
         [modules]\nlist = m\n[module m]\ncommand = ./m\n",
    );
    if cfg!(feature = "tls") {
        text += "[tls]\ncertificate = c.pem\nkey = k.pem\n";
    }
    if cfg!(feature = "sqlite") {
        text += "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = d.db\n\
            dbRequest = SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]\n";
    }
    fs::write(directory.path().join("conf/my.conf"), text).unwrap();
    let arguments = Arguments {
        file: Some("conf/my.conf".into()),
        directory: directory.path().to_owned(),
        ..Arguments::default()
    };
    let config = load(&arguments).unwrap();
    let at = |name: &str| directory.path().join("conf").join(name);
    assert_eq!(config.pid_file, Some(at("p.pid")));
    assert_eq!(config.log_file, Some(at("../l.txt")));
    assert_eq!(config.accounts.file, Some(at("a")));
    assert_eq!(config.modules[0].program, at("./m"));
    assert_eq!(config.modules[0].directory, directory.path().join("conf"));
    if let Some(tls) = &config.web.tls {
        assert_eq!((&tls.certificate, &tls.key), (&at("c.pem"), &at("k.pem")));
    }
    if let Some(database) = &config.accounts.database {
        assert_eq!(PathBuf::from(&database.database), at("d.db"));
    }
}

const CUT: &str = "\" ;\" ends the value";
const PART: &str = "\" ;\" is a part of the value";
const HASH_SIGN: &str = "\"#\" is a part of the value";
const QUOTES: &str = "the quotes are a part of the value";

#[test]
fn a_password_that_may_be_meant_otherwise_is_a_warning() {
    let kind = "it looks like the hash of another program, and is taken for the password itself";
    for (section, line, expected) in [
        ("admin", "password = geheim ;x", CUT),
        ("admin", "password = geheim ; my comment", CUT),
        ("admin", "password = ge;heim ; my comment", PART),
        ("admin", "password = geheim # my comment", HASH_SIGN),
        ("admin", "password = #geheim", HASH_SIGN),
        ("admin", "password = \"geheim\"", QUOTES),
        ("admin", "password = 'geheim'", QUOTES),
        ("admin", "password = ''", QUOTES),
        ("admin", "password = ge;heim", ""),
        ("admin", "password = geheim ;", CUT),
        ("admin", "password = ge\u{200b}heim", "characters that can't be seen are a part"),
        ("admin", "password = “geheim”", "typographic quotes are a part"),
        ("admin", "password = $6$salt$geheimgeheim", kind),
        ("admin", "password = $2y$10$geheimgeheim", kind),
        ("admin", "password = $1$salt$geheim", kind),
        ("admin", "password = $pbkdf2-sha256$geheim", kind),
        ("admin", "password = {SSHA}geheimgeheim", kind),
        ("admin", "password = {X-PBKDF2}geheim", kind),
        (
            "admin",
            "password = Ann:$argon2id$v=19$geheim",
            "it looks like a line of an accounts file",
        ),
        ("admin", "password = $geheim$", ""),
        ("admin", "password = ge$heim$x", ""),
        ("admin", "password = {geheim", ""),
        ("admin", "password = ge#heim", ""),
        ("admin", "password = it's \"so\" ", ""),
        ("admin", "password = \"\"", ""),
    ] {
        assert_warned_of(section, line, expected);
    }
}

#[test]
fn a_value_that_may_be_meant_otherwise_is_a_warning() {
    for (section, line, expected) in [
        ("database", "dbPassword = geheim ;", CUT),
        (
            "database",
            "dbRequest = SELECT 1 ; and p = 1",
            "\" ;\" ends the value: \"and p = 1\" behind",
        ),
        ("database", "dbRequest = SELECT 1 ;", ""),
        ("database", "dbRequest = SELECT ‘x’", "typographic quotes are a part"),
        ("logging", "logfile = /var/log/p ;", ""),
        ("database", "dbPassword = geheim ;x", CUT),
        ("database", "dbUser = ann ;x", CUT),
        ("database", "dbUser = ann ; the owner", ""),
        ("logging", "logfile = \"/var/log/p\"", QUOTES),
        ("logging", "logfile = /var/log/p # the log", HASH_SIGN),
        ("daemon", "port = 2468 ; as ever", ""),
        ("daemon", "ip = 127.0.0.1 ;here", ""),
        ("module m", "command = ./m --pass geheim ; x", CUT),
        ("module m", "environment = PASS=geheim #x", "\"#\" ends the value"),
        ("module m", "timeout = 7 ; seconds", ""),
    ] {
        assert_warned_of(section, line, expected);
    }
}

/// Checks what is warned of when a line stands in a section; nothing, when `expected` is empty.
fn assert_warned_of(section: &str, line: &str, expected: &str) {
    let config = good(&format!("[{section}]\n{line}\n"));
    let shown = config.warnings.join("\n");
    // That a module is in no list, or a request is not asked, is another matter.
    let others = ["list does not", "nothing asks it"];
    let doubts: Vec<_> = config
        .warnings
        .iter()
        .filter(|warning| !others.iter().any(|other| warning.contains(other)))
        .collect();
    if expected.is_empty() {
        assert_eq!(doubts, Vec::<&String>::new(), "{line}");
    } else {
        let key = line.split(' ').next().unwrap();
        let start = format!("palabre.conf:2: [{section}] {key}: {expected}");
        assert!(doubts.len() == 1 && doubts[0].starts_with(&start), "{line}: {shown}");
        assert!(!shown.contains("heim"), "{shown}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_request_that_changes_something_is_told_to_whoever_starts_a_server() {
    let text = "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = a.db\n\
         dbRequest = UPDATE t SET a = 1 WHERE n = [LOGIN] AND p = [PASSWORD]\n";
    let told = good(text).request_fault().unwrap();
    let start = "palabre.conf:5: [database] dbRequest: found a request that is no SELECT";
    assert!(told.starts_with(start), "{told:?}");
    assert_eq!(good(&text.replace("UPDATE t SET a =", "SELECT")).request_fault(), None);
    assert_eq!(good(&text.replace("true", "false")).request_fault(), None);
}
