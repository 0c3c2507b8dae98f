//! What is wrong in a file, or may be meant otherwise, only by its keys together. Nothing is
//! changed here: [`ConfigDraft::fill_in`] has adapted what the file leaves open.

use core::fmt;
use std::path::{Path, PathBuf};

use super::closing::CLOSING;
use super::database;
use super::doubts::doubt_about_root;
use super::draft::ConfigDraft;
use super::problem::{Misfit, Problem};
use crate::accounts::hash::{self, PasswordHash};
use crate::limits::Limits;

/// Everything that is wrong only in company.
pub(super) fn problems(draft: &ConfigDraft) -> Vec<Problem> {
    let mut checks = Checks { draft, problems: Vec::new() };
    checks.check_limits();
    checks.check_policy_port();
    checks.check_files();
    checks.check_accounts();
    checks.check_who_checks();
    checks.check_web();
    checks.check_tls();
    checks.problems
}

/// What is accepted and not done, or hardly meant so.
pub(super) fn warnings(draft: &ConfigDraft) -> Vec<String> {
    let mut told = database_warnings(draft);
    told.extend(limit_warnings(draft));
    let file = draft.file.display();
    let lines = told.into_iter().map(|(line, text)| match line {
        0 => format!("{file}: {text}"),
        line => format!("{file}:{line}: {text}"),
    });
    lines.collect()
}

/// A draft that is checked, and what was found in it so far.
struct Checks<'a> {
    draft: &'a ConfigDraft,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    /// Bounds that depend on each other. A bound that the file leaves open fits by now.
    fn check_limits(&mut self) {
        let limits = &self.draft.values.limits;
        let (stanza, soft) = (limits.stanza_bytes_max, limits.backlog_soft_bytes_max);
        let (total, list) = (limits.backlog_total_bytes_max, limits.list_bytes_max);
        if limits.backlog_bytes_max < stanza {
            let needs = format!("at least stanzabytes, {stanza}");
            self.wrong("limits", "backlog", limits.backlog_bytes_max, needs);
        }
        let backlog = self.draft.values.backlog_wanted();
        if soft > backlog {
            self.wrong("limits", "backlogsoft", soft, format!("at most backlog, {backlog}"));
        }
        if total < backlog {
            self.wrong("limits", "backlogtotal", total, format!("at least backlog, {backlog}"));
        }
        let quarter = backlog / 4;
        if list > quarter {
            let needs = format!("at most a quarter of backlog, {quarter}");
            self.wrong("limits", "listbytes", list, needs);
        }
    }

    fn check_policy_port(&mut self) {
        let listen = self.draft.values.listen();
        if let Some(port) = self.draft.values.policy_port.filter(|port| *port != 0)
            && listen.iter().any(|listen| listen.address.port() == port)
        {
            let needs = "a port that nothing else uses, 843 for Flash; the main port answers \
                         policy requests too";
            self.wrong("crossdomain", "policyport", port, needs);
        }
    }

    /// What the server writes is none of the files that it reads.
    fn check_files(&mut self) {
        let values = &self.draft.values;
        let read = [
            ("the accounts file", values.accounts_file.as_deref()),
            ("the store", values.store_file.as_deref()),
            ("the certificate", values.certificate.as_deref()),
            ("the key of the certificate", values.key.as_deref()),
            ("the configuration", Some(self.draft.source.as_path())),
        ];
        let same = |path: &Path| {
            let (what, _) = read.iter().find(|(_, other)| *other == Some(path))?;
            Some(format!("{:?}, {what}", path.display()))
        };
        let (log, pid): (&Option<PathBuf>, &Option<PathBuf>) = (&values.log_file, &values.pid_file);
        let pid_found = pid.as_deref().and_then(same);
        let log_found = log.as_deref().and_then(|log| {
            let is_pid = pid.as_deref() == Some(log);
            same(log).or_else(|| is_pid.then(|| format!("{:?}, the pid file", log.display())))
        });
        for (section, key, found) in
            [("logging", "logfile", log_found), ("daemon", "pidfile", pid_found)]
        {
            if let Some(found) = found {
                self.wrong(section, key, found, "another file");
            }
        }
    }

    /// Who may log in must be possible to find out.
    fn check_accounts(&mut self) {
        let values = &self.draft.values;
        let password = values.root_password.text();
        if password.starts_with(hash::PREFIX)
            && let Err(error) = PasswordHash::parse(password)
        {
            self.wrong("admin", "password", "a value", error.to_string());
        }
        match database::read(values) {
            Ok(Some(_)) if values.guests => {
                let needs = "no, or no [database]: a database can't tell which nicks are free";
                self.wrong("accounts", "guests", "yes, with a database", needs);
            }
            Ok(_) => {}
            Err(faults) => {
                for (key, Misfit { found, needs }) in faults {
                    self.wrong("database", key, found, needs);
                }
            }
        }
    }

    /// A file that says that logins are checked needs somebody to check them: the old server let
    /// nobody in then. Whether a plugin does it is seen when it has registered.
    fn check_who_checks(&mut self) {
        let ConfigDraft { values, origins, problems, .. } = self.draft;
        // A line without the name of its file has been told.
        let checked = origins.is_written("accounts", "file")
            || values.use_database && values.check_password
            || !values.modules.is_empty();
        let is_right =
            |key: &str| problems.iter().all(|problem| !problem.key.eq_ignore_ascii_case(key));
        if checked {
            return;
        }
        for key in CLOSING {
            if key.is_meant(values, origins) && is_right(key.key) {
                self.wrong(key.section, key.key, key.found, key.needs);
            }
        }
    }

    /// What is offered must be possible by itself and lead somewhere.
    fn check_web(&mut self) {
        let values = &self.draft.values;
        let takes_websocket = values.takes_websocket();
        if values.websocket && !takes_websocket {
            let needs = "http = true as well: a WebSocket begins as HTTP";
            self.wrong("web", "websocket", "true, with http = false", needs);
        }
        if values.page && !takes_websocket {
            let needs = "http = true and websocket = true as well: the page connects by WebSocket";
            self.wrong("web", "page", "true, with no WebSocket", needs);
        }
        if !values.stanzas && !takes_websocket {
            let needs = "true, or [web] http and websocket: nobody could connect";
            self.wrong("daemon", "stanzas", "false, with no WebSocket", needs);
        }
    }

    fn check_tls(&mut self) {
        let values = &self.draft.values;
        match (&values.certificate, &values.key) {
            (Some(_), Some(_)) if cfg!(not(feature = "tls")) => {
                let needs = "a palabre with TLS in it: cargo build --release --features tls";
                self.wrong("tls", "certificate", "a certificate", needs);
            }
            (Some(_), None) => {
                let needs = "[tls] key as well, the file with the certificate's private key";
                self.wrong("tls", "certificate", "a certificate without a key", needs);
            }
            (None, Some(_)) => {
                let needs = "[tls] certificate as well, the file with the certificate of this key";
                self.wrong("tls", "key", "a key without a certificate", needs);
            }
            (None, None) if values.tls_required => {
                let needs = "[tls] certificate and key as well";
                self.wrong("tls", "required", "true, without a certificate", needs);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn wrong(
        &mut self,
        section: &str,
        key: &str,
        found: impl fmt::Display,
        needs: impl Into<String>,
    ) {
        let misfit = Misfit::new(found.to_string(), needs);
        let line = self.draft.origins.line_of(section, key);
        self.problems.push(Problem::at(&self.draft.file, line, section, key, misfit));
    }
}

/// A warning, and the line that it is about; 0 for none.
type Warning = (usize, String);

fn database_warnings(draft: &ConfigDraft) -> Vec<Warning> {
    let ConfigDraft { values, origins, .. } = draft;
    let mut told = Vec::new();
    if values.use_database && !values.check_password {
        let line = origins.line_of("database", "usedatabase");
        let text = "[database] usedatabase: nothing asks it while checkpassword is false";
        told.push((line, text.to_owned()));
    }
    if let Some(doubt) = doubt_about_root(values.root_password.text()) {
        let line = origins.line_of("admin", "password");
        told.push((line, format!("[admin] password: {doubt}")));
    }
    // Whoever writes a request means it to be asked.
    let line = origins.line_of("database", "dbRequest");
    if line != 0
        && !values.db_request.is_empty()
        && !origins.is_written("database", "usedatabase")
        && !origins.is_written("database", "checkpassword")
    {
        let text = "[database] dbRequest: nothing asks it, and everybody may log in who may \
                    otherwise, without usedatabase = true and checkpassword = true";
        told.push((line, text.to_owned()));
    }
    let database = database::read(values).ok().flatten();
    if let Some(request) = database.map(|database| database.request) {
        let pattern = "[database] dbRequest: [LOGIN] is compared as a pattern, so the nick % \
                       is everybody's; = compares nicks";
        let comment = "[database] dbRequest: a part of it is a comment, which the database \
                       does not read: what stands there is not asked";
        told.extend(request.nick_is_pattern.then(|| (line, pattern.to_owned())));
        told.extend(request.has_comment.then(|| (line, comment.to_owned())));
    }
    told
}

fn limit_warnings(draft: &ConfigDraft) -> Vec<Warning> {
    let ConfigDraft { values, origins, .. } = draft;
    let mut told = Vec::new();
    let checks = values.accounts_file.is_some() || values.use_database && values.check_password;
    if checks && values.limits.attributes_max == 1 {
        let line = origins.line_of("limits", "attributes");
        let text = "[limits] attributes: with 1 nobody can give a nickname and a password";
        told.push((line, text.to_owned()));
    }
    let Limits { stanza_bytes_max, nick_bytes_max, room_bytes_max, .. } = values.limits;
    // An empty element gets an end tag, and the names of sender and room escaped.
    let relayed = 2 * stanza_bytes_max + 6 * (nick_bytes_max + room_bytes_max) + 64;
    if values.limits.backlog_bytes_max < relayed {
        let line = origins.line_of("limits", "backlog");
        let text = format!(
            "[limits] backlog: below {relayed} bytes one large stanza can close those who receive \
             it as slow readers"
        );
        told.push((line, text));
    }
    told
}
