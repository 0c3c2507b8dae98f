//! What the server asks of the system for each delivery, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::error::Fault;

/// strace at work on a process.
#[derive(Debug)]
pub(super) struct Counting {
    strace: Child,
    directory: tempfile::TempDir,
}

/// The calls of one kind.
pub(super) type Calls = BTreeMap<String, u64>;

impl Counting {
    /// Begins to count the calls of a process.
    ///
    /// # Errors
    /// When strace is missing or may not look at the process.
    pub(super) fn begin(pid: u32) -> Result<Self, Fault> {
        let fault = |source| Fault::system("count system calls: is strace installed?", source);
        let directory = tempfile::tempdir().map_err(fault)?;
        let mut strace = Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string(), "-o"])
            .arg(directory.path().join("calls"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fault)?;
        let told = strace.stderr.take().map(BufReader::new).and_then(|stderr| {
            stderr.lines().map_while(Result::ok).find(|line| line.contains("ttach"))
        });
        let counting = Self { strace, directory };
        match told {
            Some(line) if line.contains("attached") => Ok(counting),
            told => Err(Fault::Broken {
                what: format!("strace: {}", told.unwrap_or_else(|| "it ended".to_owned())),
            }),
        }
    }

    /// Ends it, and gives the calls by name.
    ///
    /// # Errors
    /// When strace left nothing to read.
    pub(super) fn end(mut self) -> Result<Calls, Fault> {
        let fault = |source| Fault::system("read what strace counted", source);
        interrupt(&self.strace);
        self.strace.wait().map_err(fault)?;
        let text = fs::read_to_string(self.directory.path().join("calls")).map_err(fault)?;
        Ok(read_table(&text))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Ended already, as a rule.
        interrupt(&self.strace);
        let _ = self.strace.wait();
    }
}

fn interrupt(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::INT);
    }
}

/// Reads `strace -c`'s table: the calls stand in the fourth column, the name in the last.
fn read_table(text: &str) -> Calls {
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|fields| fields.len() >= 5 && fields.last() != Some(&"total"))
        .filter_map(|fields| Some(((*fields.last()?).to_owned(), fields[3].parse().ok()?)))
        .collect()
}

/// One line: so many calls of each kind for 1,000 deliveries.
pub(super) fn describe(calls: &Calls, deliveries: u64) -> String {
    let mut kinds: Vec<(&str, u64)> =
        ["sends", "receives", "waits", "epoll_ctl"].map(|kind| (kind, 0)).into();
    for (name, count) in calls {
        let kind = match &**name {
            "sendto" | "sendmsg" | "write" | "writev" => "sends",
            "recvfrom" | "recvmsg" | "read" | "readv" => "receives",
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => "waits",
            other => other,
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, sum)) => *sum += count,
            None => kinds.push((kind, *count)),
        }
    }
    let each = |count: u64| count as f64 * 1e3 / (deliveries as f64).max(1.0);
    let told: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{:.1} {kind}", each(*count))).collect();
    format!("system calls for 1,000 of {deliveries}: {}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.001000           1      1500           sendto
  9.00    0.000100           1       500        20 recvfrom
  0.50    0.000010           1       250           writev
  0.50    0.000010           1         1           brk
------ ----------- ----------- --------- --------- ----------------
100.00    0.001110           1      2251        20 total
";
        let calls = read_table(text);
        assert_eq!(calls.len(), 4);
        assert_eq!(
            describe(&calls, 10_000),
            "system calls for 1,000 of 10000: 175.0 sends, 50.0 receives, 0.0 waits, \
             0.0 epoll_ctl, 0.1 brk"
        );
    }
}
