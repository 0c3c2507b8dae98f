//! What a run is asked for: the workloads, the options, and which workload takes which option.
//!
//! An option that a workload would pass over is refused: a figure that was measured otherwise
//! than its command says is worse than none.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{Fault, needs_one_of};
use super::over::Mix;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Everything that the manual has figures of.
    Suite,
    /// Rooms in which so many messages are in flight.
    Fanout,
    /// Rooms in which messages come by the clock.
    Rate,
    /// Pairs that write to each other.
    Private,
    /// Pings.
    Ping,
    /// Sessions that do nothing.
    Idle,
    /// One room fills.
    Join,
    /// Sessions come and go.
    Churn,
    /// One member never reads.
    Slow,
    /// Others misbehave.
    Noisy,
    /// Accounts of a database log in.
    Logins,
    /// Plugins misbehave.
    Plugins,
    /// Others attack.
    Rude,
}

impl Workload {
    /// Every workload with its name and what it does.
    pub const ALL: [(&'static str, Self, &'static str); 13] = [
        ("suite", Self::Suite, "all of the comparisons with the floor, one after the other"),
        ("fanout", Self::Fanout, "members of rooms talk, so many messages in flight"),
        ("rate", Self::Rate, "members of rooms talk, so many messages a second by the clock"),
        ("private", Self::Private, "pairs of clients, a message from one to the other"),
        ("ping", Self::Ping, "a ping in flight on each connection"),
        ("idle", Self::Idle, "sessions in rooms of ten that do nothing: memory, processor"),
        ("join", Self::Join, "one room fills"),
        ("churn", Self::Churn, "connect, log in, join, leave, quit"),
        ("slow", Self::Slow, "one member never reads while 10 kB messages flow"),
        ("noisy", Self::Noisy, "polite clients beside four that misbehave"),
        ("logins", Self::Logins, "a crowd talks, and accounts of a database log in beside it"),
        ("plugins", Self::Plugins, "polite clients beside four plugins that misbehave"),
        ("rude", Self::Rude, "polite clients beside one attack after the other; fails when felt"),
    ];

    /// As it is called on the command line.
    pub(super) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, workload, _)| *workload == self);
        found.map_or("", |(name, _, _)| name)
    }

    /// The fewest members of a room in which somebody talks and somebody hears it.
    fn members_min(self) -> usize {
        match self {
            Self::Suite
            | Self::Fanout
            | Self::Rate
            | Self::Slow
            | Self::Noisy
            | Self::Logins
            | Self::Plugins => 2,
            Self::Private | Self::Ping | Self::Idle | Self::Join | Self::Churn | Self::Rude => 1,
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _, _)| *name == text)
            .map(|&(_, workload, _)| workload)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|(name, _, _)| *name).collect();
                needs_one_of(text, &names)
            })
    }
}

/// An option that some workloads take and others don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Connect,
    Pid,
    Server,
    Against,
    Floor,
    BesideStanzas,
    Rounds,
    Seconds,
    Rooms,
    Members,
    Body,
    Window,
    Rate,
    Logins,
    Connections,
    AtOnce,
    Syscalls,
    Plot,
    Attack,
    List,
}

impl Setting {
    /// All of them, in the order of the help.
    pub(crate) const ALL: [Self; 20] = [
        Self::Connect,
        Self::Pid,
        Self::Server,
        Self::Against,
        Self::Floor,
        Self::BesideStanzas,
        Self::Rounds,
        Self::Seconds,
        Self::Rooms,
        Self::Members,
        Self::Body,
        Self::Window,
        Self::Rate,
        Self::Logins,
        Self::Connections,
        Self::AtOnce,
        Self::Syscalls,
        Self::Plot,
        Self::Attack,
        Self::List,
    ];

    /// Whether it makes a difference to a workload. `--over` and `--json` do to all.
    pub(crate) const fn is_taken_by(self, workload: Workload) -> bool {
        use Workload::{
            Churn, Fanout, Idle, Join, Logins, Noisy, Ping, Plugins, Private, Rate, Rude, Slow,
            Suite,
        };
        match self {
            // Those have a server of their own, with accounts, plugins or what is attacked.
            Self::Connect | Self::Pid => !matches!(workload, Logins | Plugins | Rude),
            Self::Server => true,
            Self::Against | Self::Floor | Self::BesideStanzas => {
                matches!(workload, Suite | Fanout | Rate | Private | Ping | Idle | Join | Churn)
            }
            Self::Rounds => !matches!(workload, Idle | Slow),
            Self::Seconds => !matches!(workload, Join),
            Self::Rooms => matches!(workload, Suite | Fanout | Rate | Noisy | Logins | Plugins),
            Self::Members => !matches!(workload, Private | Ping | Churn | Rude),
            Self::Body => !matches!(workload, Ping | Idle | Join | Churn | Rude),
            Self::Window => matches!(workload, Suite | Fanout),
            Self::Rate => matches!(workload, Suite | Rate | Slow | Noisy | Logins | Plugins),
            Self::Logins => matches!(workload, Logins),
            Self::Connections => {
                matches!(workload, Suite | Private | Ping | Idle | Churn | Logins)
            }
            Self::AtOnce => matches!(workload, Join),
            Self::Syscalls => matches!(workload, Suite | Fanout | Rate | Private | Ping | Churn),
            Self::Plot => !matches!(workload, Suite | Idle | Rude),
            Self::Attack | Self::List => matches!(workload, Rude),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "--connect",
            Self::Pid => "--pid",
            Self::Server => "--server",
            Self::Against => "--against",
            Self::Floor => "--floor",
            Self::BesideStanzas => "--beside-stanzas",
            Self::Rounds => "--rounds",
            Self::Seconds => "--seconds",
            Self::Rooms => "--rooms",
            Self::Members => "--members",
            Self::Body => "--body",
            Self::Window => "--window",
            Self::Rate => "--rate",
            Self::Logins => "--logins",
            Self::Connections => "--connections",
            Self::AtOnce => "--at-once",
            Self::Syscalls => "--syscalls",
            Self::Plot => "--plot",
            Self::Attack => "--attack",
            Self::List => "--list",
        })
    }
}

/// The options of a run; `None` takes the workload's own default.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured.
    pub workload: Workload,
    /// A server that runs already, HOST:PORT.
    pub connect: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// The program of the server that is started; none: the one beside the generator's own.
    pub server: Option<PathBuf>,
    /// Another build of the server that is measured alternately.
    pub against: Option<PathBuf>,
    /// Whether the floor is measured alternately.
    pub floor: bool,
    /// How often each is measured.
    pub rounds: Option<usize>,
    /// How long a measurement takes.
    pub seconds: Option<f64>,
    /// Rooms.
    pub rooms: Option<usize>,
    /// Members of each room.
    pub members: Option<usize>,
    /// Bytes of a message's body.
    pub body: Option<usize>,
    /// Messages in flight in each room.
    pub window: Option<usize>,
    /// Messages a second, in all.
    pub rate: Option<u64>,
    /// Logins a second.
    pub logins: Option<u64>,
    /// Connections, pairs or sessions.
    pub connections: Option<usize>,
    /// Joins at once.
    pub at_once: Option<usize>,
    /// What the connections speak.
    pub over: Mix,
    /// Whether the same is measured over stanzas alternately.
    pub beside_stanzas: bool,
    /// Where everything is written for programs.
    pub json: Option<PathBuf>,
    /// Whether the server's system calls are counted afterwards.
    pub syscalls: bool,
    /// Whether the latencies are plotted where no terminal is, too.
    pub plot: bool,
    /// The attacks that are run; none: all of them.
    pub attacks: Vec<&'static str>,
    /// Whether the attacks are told instead.
    pub list: bool,
}

impl Options {
    /// How often each is measured.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(1)
    }

    /// How long a measurement takes.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(2.0)
    }

    /// Logins a second.
    pub(super) fn logins(&self) -> u64 {
        self.logins.unwrap_or(200)
    }

    /// The connections that `--over` counts, by so many, if it counts any.
    pub(super) fn dealt(&self, by: usize) -> Option<usize> {
        self.over.connections().map(|count| count.div_ceil(by))
    }

    /// How many servers are measured.
    pub(super) fn servers(&self) -> usize {
        let others = [self.against.is_some(), self.beside_stanzas, self.floor];
        1 + others.into_iter().filter(|&other| other).count()
    }

    /// Refuses what a workload would pass over, and what does not go together.
    ///
    /// # Errors
    /// [`Fault::Usage`] with what would be right.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let name = self.workload.name();
        let wrong = |text: String| Err(Fault::Usage { text });
        let listed = |settings: Vec<Setting>, between| {
            settings.iter().map(Setting::to_string).collect::<Vec<_>>().join(between)
        };
        let (own, others): (Vec<_>, Vec<_>) =
            Setting::ALL.into_iter().partition(|setting| setting.is_taken_by(self.workload));
        let others: Vec<_> = others.into_iter().filter(|other| self.has(*other)).collect();
        if !others.is_empty() {
            let (own, others) = (listed(own, ", "), listed(others, " and "));
            return wrong(format!(
                "{name} does not take {others}; leave out {others}. It takes --over, --json, {own}"
            ));
        }
        for (setting, program) in
            [(Setting::Server, &self.server), (Setting::Against, &self.against)]
        {
            if let Some(program) = program.as_ref().filter(|program| !program.is_file()) {
                return wrong(format!("{setting} {}: needs a program", program.display()));
            }
        }
        if self.server.is_some() && self.connect.is_some() {
            return wrong(
                "--server and --connect both say which server is measured: needs one of them"
                    .into(),
            );
        }
        if self.pid.is_some() && self.connect.is_none() {
            return wrong("--pid needs --connect as well: it names that server's process".into());
        }
        let members_min = self.workload.members_min();
        if self.members.is_some_and(|members| members < members_min) {
            return wrong(format!(
                "--members: found 1, {name} needs at least {members_min}: one talks, one hears it"
            ));
        }
        if self.workload == Workload::Logins && self.rooms.is_some() && self.connections.is_some() {
            return wrong(
                "--rooms and --connections both say how many sessions logins has: needs one of \
                 them"
                    .into(),
            );
        }
        if self.floor && !self.over.is_plain() {
            return wrong(format!(
                "--over {} can't be measured beside --floor: the relay knows no transports; leave \
                 out --floor, or measure --over stanzas beside it",
                self.over
            ));
        }
        if self.beside_stanzas && self.over.is_plain() {
            return wrong("--beside-stanzas needs --over something else than stanzas".into());
        }
        Ok(())
    }

    /// Whether this one was given.
    const fn has(&self, setting: Setting) -> bool {
        match setting {
            Setting::Connect => self.connect.is_some(),
            Setting::Pid => self.pid.is_some(),
            Setting::Server => self.server.is_some(),
            Setting::Against => self.against.is_some(),
            Setting::Floor => self.floor,
            Setting::BesideStanzas => self.beside_stanzas,
            Setting::Rounds => self.rounds.is_some(),
            Setting::Seconds => self.seconds.is_some(),
            Setting::Rooms => self.rooms.is_some(),
            Setting::Members => self.members.is_some(),
            Setting::Body => self.body.is_some(),
            Setting::Window => self.window.is_some(),
            Setting::Rate => self.rate.is_some(),
            Setting::Logins => self.logins.is_some(),
            Setting::Connections => self.connections.is_some(),
            Setting::AtOnce => self.at_once.is_some(),
            Setting::Syscalls => self.syscalls,
            Setting::Plot => self.plot,
            Setting::Attack => !self.attacks.is_empty(),
            Setting::List => self.list,
        }
    }
}
