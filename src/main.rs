//! The `palabre` binary.
fn main() {
    fern::Dispatch::new().chain(std::io::stderr()).apply().unwrap();
    let config = palabre::config::Config {
        listen: vec![palabre::config::Listen {
            address: "127.0.0.1:2468".parse().unwrap(),
            optional: false,
        }],
        ..Default::default()
    };
    palabre::net::bind(&config).unwrap().serve(&mut || None).unwrap();
}
