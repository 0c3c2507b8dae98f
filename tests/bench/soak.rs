//! The polite among the rude: whether anybody notices a client that sends without end, one that
//! trickles, one that never reads, one that resets, or a burst of connects, and whether
//! anything of them stays.
//!
//! `cargo bench --bench soak [-- --seconds 10 --burst 19000]`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "host.rs"]
mod host;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::{Client, Host, argument};

const CONFIGURATION: &str = "[limits]\nsessionsperaddress = 0\n[admin]\npassword = soak\n";

fn main() {
    let seconds = argument("--seconds", 10);
    let burst = argument("--burst", 19_000);
    let mut host = Host::start(CONFIGURATION);
    let address = host.address;
    let span = Duration::from_secs(seconds);
    let alone = talk(address, span, "alone");
    let before = (host.resident_bytes(), host.descriptors());
    report("polite alone", &alone);
    let rude: [(&str, Rude); 6] = [
        ("a gigabyte without a NUL", endless),
        ("one byte a second", trickle),
        ("never reads", deaf),
        ("resets in the middle", resetting),
        ("as fast as it can", flood),
        ("joins and leaves in a loop", restless),
    ];
    for (name, act) in rude {
        let among = with(address, span, act);
        report(name, &among);
    }
    let among = with(address, span, |address, stop| connect_burst(address, burst, stop));
    report(&format!("{burst} connects in a burst"), &among);
    wait_for_descriptors(&host, before.1);
    assert!(host.is_running(), "the server is gone");
    println!(
        "resident memory  {} KiB before, {} KiB after",
        before.0 / 1024,
        host.resident_bytes() / 1024
    );
    println!("descriptors      {} before, {} after", before.1, host.descriptors());
    println!("closed by a limit, as the log names it:");
    let log = std::fs::read_to_string(host.log_file()).expect("the log");
    for reason in ["limits.stanzabytes", "slow reader", "limits.stanzarate"] {
        let count = log.lines().filter(|l| l.contains("closed:") && l.contains(reason)).count();
        println!("  {count:>6}  {reason}");
    }
}

type Rude = fn(SocketAddr, &AtomicBool);

/// Runs the polite while somebody is rude.
fn with(
    address: SocketAddr,
    span: Duration,
    act: impl Fn(SocketAddr, &AtomicBool) + Sync,
) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| act(address, &stop));
        let times = talk(address, span, "among");
        stop.store(true, Ordering::Relaxed);
        times
    })
}

/// Two clients in a room: how long each message takes from the one to the other.
fn talk(address: SocketAddr, span: Duration, tag: &str) -> Vec<Duration> {
    let mut speaker = Client::login(address, &format!("speaker {tag}"));
    let mut listener = Client::login(address, &format!("listener {tag}"));
    speaker.join("polite");
    listener.join("polite");
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < span {
        let sent = Instant::now();
        speaker.send(&format!("<m r='polite'>{}</m>", times.len()));
        listener.read_until(&format!(">{}</m>", times.len()));
        times.push(sent.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

fn report(name: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{name:<28} {:>6} messages  p50 {:>6} µs  p99 {:>6} µs  max {:>6} µs",
        times.len(),
        at(0.50),
        at(0.99),
        at(1.0)
    );
}

fn endless(address: SocketAddr, stop: &AtomicBool) {
    let chunk = vec![b'x'; 65_536];
    let mut sent = 0_u64;
    while sent < 1 << 30 && !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("a connection");
        while sent < 1 << 30 && stream.write_all(&chunk).is_ok() {
            sent += chunk.len() as u64;
        }
    }
}

fn trickle(address: SocketAddr, stop: &AtomicBool) {
    let mut streams: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let _ = stream.write_all(b" ");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Joins the room of a loud pair and never reads.
fn deaf(address: SocketAddr, stop: &AtomicBool) {
    let mut deaf = Client::login(address, "deaf");
    deaf.join("loud");
    let mut loud = Client::login(address, "loud");
    loud.join("loud");
    let body = "x".repeat(10_000);
    while !stop.load(Ordering::Relaxed) {
        loud.send(&format!("<m r='loud'>{body}</m>"));
        std::thread::sleep(Duration::from_millis(6));
    }
}

fn resetting(address: SocketAddr, stop: &AtomicBool) {
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::login(address, &format!("reset{round}"));
        client.send("<join room='resets'/>");
        let _ = client.stream.write_all(b"<m r='resets'>half a mess");
        // Closing with unread bytes in the socket resets the connection.
        drop(client);
        round += 1;
    }
}

fn flood(address: SocketAddr, stop: &AtomicBool) {
    let stanzas = "<m r='flood'>x</m>\0".repeat(1_000);
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::login(address, &format!("flood{round}"));
        client.send("<join room='flood'/>");
        client.stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let mut sink = client.stream.try_clone().expect("a clone");
        sink.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let mut buffer = [0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            match client.stream.write(stanzas.as_bytes()) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                _ => {}
            }
            if matches!(sink.read(&mut buffer), Ok(0)) {
                break;
            }
        }
        round += 1;
    }
}

fn restless(address: SocketAddr, stop: &AtomicBool) {
    let mut client = Client::login(address, "restless");
    while !stop.load(Ordering::Relaxed) {
        client.join("polite");
        client.send("<leave room='polite'/>");
        client.read_until("leaved");
    }
}

fn connect_burst(address: SocketAddr, count: u64, stop: &AtomicBool) {
    let mut streams = Vec::new();
    for _ in 0..count {
        match TcpStream::connect(address) {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                println!("  the burst ended after {} connects: {error}", streams.len());
                break;
            }
        }
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last closes may still be on their way.
fn wait_for_descriptors(host: &Host, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while host.descriptors() > wanted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}
