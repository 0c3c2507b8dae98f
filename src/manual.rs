//! The manual: the documentation as Markdown, one file a topic in `src/manual`.
//!
//! - [`protocol`]: what clients and the server say to each other, with a whole client
//! - [`configuration`]: the file, all keys, certificate, accounts, database, hosts and proxies
//! - [`plugins`]: programs that extend the server, and what they hear and say
//! - [`operating`]: running, signals, exit codes, log, metrics, old movies under Ruffle, security
//! - [`measuring`]: what a host carries, and the commands that measure it
//! - [`developing`]: tests, fuzzing, benchmarks, documents
//!
//! The same text is the documentation of these modules, what `palabre help TOPIC` prints, and what
//! tests hold against the code: a block that is marked to run is run, a table that the code can
//! print is compared. Nothing of the crate is used here.
//!
//! A topic cites another one by its name and a heading: manual: protocol, 'Names'.

/// A topic of the manual.
#[derive(Debug)]
pub struct ManualTopic {
    /// Its name, one word.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub about: &'static str,
    /// The whole of it, in Markdown. A line that is `<!-- … -->` marks what follows for a test.
    pub text: &'static str,
}

/// One module and one entry of the list for each topic.
macro_rules! topics {
    ($($name:ident: $about:literal,)+) => {
        $(
            #[doc = include_str!(concat!("manual/", stringify!($name), ".md"))]
            pub mod $name {}
        )+

        /// All topics, in the order in which they are read.
        pub static TOPICS: &[ManualTopic] = &[$(ManualTopic {
            name: stringify!($name),
            about: $about,
            text: include_str!(concat!("manual/", stringify!($name), ".md")),
        }),+];
    };
}

topics! {
    protocol: "what clients and the server say to each other",
    configuration: "the file, all keys, certificate, accounts, database",
    plugins: "programs that extend the server, and what they hear and say",
    operating: "running, signals, exit codes, log, metrics, old movies, security",
    measuring: "what a host carries, and the commands that measure it",
    developing: "tests, fuzzing, benchmarks",
}
