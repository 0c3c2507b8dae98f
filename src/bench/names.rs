//! Nicks, rooms and passwords of a run, and the stanzas in which they are said.

/// Names that no other run on the same server has, nor an earlier round of this one.
#[derive(Clone, Debug)]
pub(super) struct RunNames {
    text: String,
    /// Whoever logs in says a password.
    passwords: bool,
}

impl RunNames {
    /// The tag of a round of this process; with `passwords` where the server has accounts.
    pub(super) fn new(round: usize, passwords: bool) -> Self {
        Self { text: format!("{:x}.{round}", std::process::id()), passwords }
    }

    /// The nick of a connection.
    pub(super) fn nick(&self, who: usize) -> String {
        format!("b{}.{who}", self.text)
    }

    /// The name of a room.
    pub(super) fn room(&self, number: usize) -> String {
        format!("r{}.{number}", self.text)
    }

    /// The frame that logs a connection in.
    pub(super) fn login(&self, who: usize) -> String {
        let nick = self.nick(who);
        if self.passwords { login_with(&nick, &password(&nick)) } else { login(&nick) }
    }
}

/// The frame that logs a connection in.
pub(super) fn login(nick: &str) -> String {
    format!("<connect nickname=\"{nick}\" />")
}

/// The frame that logs an account in.
pub(super) fn login_with(nick: &str, password: &str) -> String {
    format!("<connect nickname=\"{nick}\" password=\"{password}\" />")
}

/// The password of an account, where the bench has made the accounts.
pub(super) fn password(nick: &str) -> String {
    format!("secret of {nick}")
}

/// The frame that enters a room.
pub(super) fn join(room: &str) -> String {
    format!("<join room=\"{room}\" />")
}
