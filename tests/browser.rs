//! The page and its script in a real Chromium. Needs Chromium and its driver, so it runs only
//! when it is named: `cargo test --test browser`.

#[path = "browser/movie.rs"]
mod movie;
#[path = "browser/ruffle.rs"]
mod ruffle;
#[path = "browser/webdriver.rs"]
mod webdriver;

use serde_json::{Value, json};
use webdriver::{Driver, Look, key};

#[test]
fn the_driver_types_clicks_waits_and_hears_the_console() {
    let driver = Driver::start();
    let browser = driver.open(Look { size: (360, 640), dark: true });
    browser.visit(
        "data:text/html,<label>Name <input id=name></label><button id=go>Go</button><p id=said>",
    );
    let prepare = "go.onclick = () => setTimeout(() => { said.textContent = name.value; }, 50);";
    browser.run(&prepare.replace("name.", "document.getElementById('name')."), &[]);
    browser.type_into("#name", "Ann");
    browser.click("#go");
    let said = browser.wait_for(
        "the answer",
        "said.textContent === args[0] && said.textContent",
        &[json!("Ann")],
    );
    assert_eq!(said, "Ann");
    browser.run("document.getElementById('name').focus();", &[]);
    browser.press(key::TAB);
    browser.press(key::ENTER);
    assert_eq!(browser.run("return document.activeElement.id;", &[]), "go");
    assert_eq!(browser.run("return innerWidth;", &[]), 360);
    assert_eq!(
        browser.run("return matchMedia('(prefers-color-scheme: dark)').matches;", &[]),
        true
    );
    browser.run("console.error('oh', 1);", &[]);
    assert!(browser.console().iter().any(|line| line.contains("oh")), "the console is heard");
    assert!(browser.screenshot().starts_with("iVBOR"), "a PNG");
    assert_eq!(
        browser.devtools("Runtime.evaluate", &json!({"expression": "6*7"}))["result"]["value"],
        42
    );
    assert_eq!(browser.run("return null;", &[]), Value::Null);
}
