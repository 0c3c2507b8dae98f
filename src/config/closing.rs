//! The keys that mean more where they are written: that not everybody may log in, so that
//! something has to check logins. Their defaults say nothing.

use super::origins::Origins;
use super::values::Values;

/// One of these keys.
pub(super) struct Closing {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// Whether its value says so.
    closes: fn(&Values) -> bool,
    /// What is told when it says so and nothing checks logins: what was found, and what would be
    /// right.
    pub(super) found: &'static str,
    pub(super) needs: &'static str,
}

/// All of them.
pub(super) const CLOSING: [Closing; 2] = [
    Closing {
        section: "database",
        key: "checkpassword",
        closes: |values| values.check_password,
        found: "true, and nothing that checks a login",
        needs: "false, which lets everybody in, or what checks logins: [accounts] file, \
                usedatabase = true, or a plugin in [modules] list that does",
    },
    Closing {
        section: "accounts",
        key: "guests",
        closes: |values| !values.guests,
        found: "no, without accounts",
        needs: "yes, which lets everybody in, or [accounts] file as well: palabre passwd add NICK \
                makes it",
    },
];

impl Closing {
    /// Whether the file says by this key that logins are checked.
    pub(super) fn is_meant(&self, values: &Values, origins: &Origins) -> bool {
        (self.closes)(values) && origins.is_written(self.section, self.key)
    }
}

/// Whether the file says, by a key that it has, that not everybody may log in.
pub(super) fn wants_logins_checked(values: &Values, origins: &Origins) -> bool {
    CLOSING.iter().any(|key| key.is_meant(values, origins))
}

/// Whether a key would say more, were it written with its default value.
pub(super) fn says_more_when_written(section: &str, key: &str) -> bool {
    CLOSING.iter().any(|closing| (closing.section, closing.key) == (section, key))
}
