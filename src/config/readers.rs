//! Texts of a configuration → values. What can't be read is told what would be right.

use core::num::IntErrorKind;

use ipnet::IpNet;

use super::hosts::KnownHost;
use super::listen::ListenPlace;
use super::problem::Misfit;
use super::web;
use crate::networks;

/// Words that are separated by commas or white space.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

/// `true` or `false`, or what means one of them.
pub(super) fn flag(text: &str) -> Result<bool, Misfit> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Misfit::of(text, "true or false")),
    }
}

/// Addresses to listen on, each once.
pub(super) fn places(text: &str) -> Result<Vec<ListenPlace>, Misfit> {
    let mut places: Vec<ListenPlace> = Vec::new();
    for word in words(text) {
        let place = word.parse()?;
        if places.contains(&place) {
            return Err(Misfit::of(word, "each address once"));
        }
        places.push(place);
    }
    Ok(places)
}

/// A port; nothing for an empty text.
pub(super) fn port(text: &str) -> Result<Option<u16>, Misfit> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Misfit::of(text, "a port from 0 (a free one) to 65535"))
}

/// A domain whose Flash movies may connect.
pub(super) fn domain(word: &str) -> Result<String, Misfit> {
    if word.contains("://") {
        return Err(Misfit::of(word, "a domain without a scheme, such as example.org"));
    }
    if word.chars().all(|c| c.is_alphanumeric() || "-_.*:[]".contains(c)) {
        return Ok(word.to_owned());
    }
    Err(Misfit::of(word, "domains separated by blanks, such as example.org, *.example.org or *"))
}

/// An address or a network.
pub(super) fn network(word: &str) -> Result<IpNet, Misfit> {
    networks::parse(word).map_err(|error| Misfit::of(word, error.to_string()))
}

/// A host that is this server's own.
pub(super) fn host(word: &str) -> Result<KnownHost, Misfit> {
    KnownHost::parse(word).map_err(|error| Misfit::of(word, error.to_string()))
}

/// Where pages may come from.
pub(super) fn origin(word: &str) -> Result<String, Misfit> {
    web::origin(word).map_err(|error| Misfit::of(word, error.to_string()))
}

/// A number within these bounds; a least one is one of bytes.
pub(super) fn count<N: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<N, Misfit> {
    let needs = if min == 0 {
        format!("a number from 0 to {max}, digits only")
    } else {
        format!("a number of bytes from {min} to {max}, digits only")
    };
    let number = match text.parse::<u64>() {
        Ok(number) if !text.starts_with('+') => number,
        Ok(_) => return Err(Misfit::of(text, needs)),
        Err(error) if *error.kind() == IntErrorKind::Empty => return Err(Misfit::of("", needs)),
        Err(_) => return Err(Misfit::of(text, needs)),
    };
    if number < min || number > max {
        return Err(Misfit::of(text, needs));
    }
    N::try_from(number).map_err(|_| Misfit::of(text, needs))
}
