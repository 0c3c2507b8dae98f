//! The Python samples among the plugins hold their conversations as they stand. Needs python3, so
//! it runs only when it is named: `cargo test --test samples`.

#[expect(dead_code, reason = "a part of it is for the bare hub")]
#[path = "support/checker.rs"]
mod checker;
#[expect(dead_code, reason = "a part of it is for the bare hub")]
#[path = "support/format.rs"]
mod format;
#[path = "support/sample.rs"]
mod sample;
#[path = "support/socket_driver.rs"]
mod socket_driver;

#[test]
fn helloworld_holds_its_conversation() {
    sample::hold("helloworld.txt");
}

#[test]
fn simple_login_holds_its_conversation() {
    sample::hold("simpleLogin.txt");
}
