//! What an idle session costs: resident memory of the server process and processor time.
//!
//! `cargo bench --bench idle [-- --sessions 15000]`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "host.rs"]
mod host;

use std::time::{Duration, Instant};

use host::{Client, Host, argument};

const ROOM_MEMBERS: u64 = 10;
const WATCHED: Duration = Duration::from_secs(5);

fn main() {
    let sessions = argument("--sessions", 15_000);
    let host = Host::start("");
    let before = host.resident_bytes();
    let started = Instant::now();
    let clients: Vec<Client> = (0..sessions)
        .map(|number| {
            let mut client = Client::login(host.address, &format!("idler{number}"));
            client.join(&format!("room{}", number / ROOM_MEMBERS));
            client
        })
        .collect();
    let filled = started.elapsed();
    let after = host.resident_bytes();
    let ticks = host.cpu_ticks();
    std::thread::sleep(WATCHED);
    let idle_ticks = host.cpu_ticks() - ticks;
    println!("start to listening             {:.1} ms", host.started_in.as_secs_f64() * 1e3);
    println!("sessions                       {sessions}, in rooms of {ROOM_MEMBERS}");
    println!("connecting them                {:.1} s", filled.as_secs_f64());
    println!("resident memory, empty server  {} KiB", before / 1024);
    println!("resident memory, full server   {} KiB", after / 1024);
    println!("resident memory a session      {} bytes", (after - before) / sessions);
    println!("processor time while idle      {} ms in {} s", idle_ticks * 10, WATCHED.as_secs());
    drop(clients);
    std::thread::sleep(Duration::from_secs(1));
    println!("resident memory after them     {} KiB", host.resident_bytes() / 1024);
    println!("descriptors after them         {}", host.descriptors());
}
