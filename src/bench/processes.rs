//! What `/proc` tells of a process: its times, its memory, its cores, and where it listens.

use std::net::SocketAddr;
use std::time::Duration;

use procfs::net::{TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, Status, all_processes};

/// The status of a process.
pub(super) fn status(pid: u32) -> Option<Status> {
    process(pid)?.status().ok()
}

/// Processor time used so far by all threads of a process.
pub(super) fn processor_time(pid: u32) -> Option<Duration> {
    let tasks = process(pid)?.tasks().ok()?.filter_map(Result::ok);
    let spent = tasks.filter_map(|task| Some(task.schedstat().ok()?.sum_exec_runtime));
    Some(Duration::from_nanos(spent.sum()))
}

/// How long all threads of a process have wanted a core so far and not had it.
pub(super) fn waiting_time(pid: u32) -> Option<Duration> {
    let tasks = process(pid)?.tasks().ok()?.filter_map(Result::ok);
    let waited = tasks.filter_map(|task| Some(task.schedstat().ok()?.run_delay));
    Some(Duration::from_nanos(waited.sum()))
}

/// The same of this thread.
pub(super) fn own_waiting_time() -> Option<Duration> {
    let thread = Process::new_with_root("/proc/thread-self".into()).ok()?;
    Some(Duration::from_nanos(thread.schedstat().ok()?.run_delay))
}

/// The processes whose parent this one is.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let processes = all_processes().into_iter().flatten().filter_map(Result::ok);
    let stats = processes.filter_map(|process| process.stat().ok());
    let children = stats.filter(|stat| u32::try_from(stat.ppid) == Ok(pid));
    children.filter_map(|stat| u32::try_from(stat.pid).ok()).collect()
}

/// The process that listens on this port of this host, if we may see it.
pub(super) fn listener_pid(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let sockets = tcp().into_iter().chain(tcp6()).flatten();
    let mut listeners = sockets.filter(|socket| socket.state == TcpState::Listen);
    let own = listeners.find(|socket| socket.local_address.port() == address.port())?.inode;
    let mut processes = all_processes().ok()?.filter_map(Result::ok);
    let has_it = |process: &Process| {
        let mut descriptors = process.fd().into_iter().flatten().filter_map(Result::ok);
        descriptors
            .any(|descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if inode == own))
    };
    processes.find(has_it).and_then(|process| u32::try_from(process.pid).ok())
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}
