//! What stands before stanzas: handshakes of TLS, and frames of WebSockets.

use std::sync::Arc;

use super::SESSIONS;
use crate::bench::error::Fault;
use crate::bench::rude::mob::{Mob, batch};
use crate::bench::rude::stage::{AttackOutcome, AttackStage};

/// All say their first word at once, take the answer and come again.
pub(super) fn handshakes(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let hello: Arc<[u8]> = stage.hello.as_slice().into();
    while !stage.is_over() {
        let mut lines: Vec<usize> = (0..SESSIONS).map(|_| mob.open()).collect::<Result<_, _>>()?;
        stage.begin();
        for &who in &lines {
            mob.raw(who, &hello);
        }
        while !lines.is_empty() && !stage.is_over() {
            mob.turn()?;
            lines.retain(|&who| {
                let heard = mob.heard(who);
                let done = heard.bytes > 0 || heard.ended;
                if done {
                    mob.close(who);
                }
                !done
            });
        }
        lines.into_iter().for_each(|who| mob.close(who));
    }
    Ok(AttackOutcome::default())
}

/// A first word cut into as many records as it has bytes, all but the last of them.
pub(super) fn records(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    // Behind the header of its one record stands the message.
    let message = stage.hello.get(5..).unwrap_or_default();
    let cut = message.len().saturating_sub(1);
    let records: Vec<u8> = message[..cut].iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
    let records: Arc<[u8]> = records.into();
    let mut lines: Vec<usize> = (0..SESSIONS).map(|_| mob.open()).collect::<Result<_, _>>()?;
    stage.begin();
    for &who in &lines {
        mob.raw(who, &records);
    }
    while !stage.is_over() {
        mob.turn()?;
        for who in &mut lines {
            if mob.heard(*who).ended {
                mob.close(*who);
                *who = mob.open()?;
                mob.raw(*who, &records);
            }
        }
    }
    Ok(AttackOutcome::default())
}

/// Frames that say nothing: pings, empty ones, and a text in frames of one byte that never ends.
pub(super) fn frames(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    const FRAMES: usize = 2_500;
    // A mask of zeros changes nothing.
    let pings: Arc<[u8]> = [0x89, 0x80, 0, 0, 0, 0].repeat(FRAMES).into();
    let empty: Arc<[u8]> = [0x82, 0x80, 0, 0, 0, 0].repeat(FRAMES).into();
    // A text begins, and each blank is one more part of it.
    let begun: Arc<[u8]> = [0x01, 0x81, 0, 0, 0, 0, b' '].into();
    let parts: Arc<[u8]> = [0x00, 0x81, 0, 0, 0, 0, b' '].repeat(FRAMES).into();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        stage.target
    );
    let upgrade: Arc<[u8]> = upgrade.into_bytes().into();
    let login = frame(&batch(&[super::super::stage::login(&stage.name("frames", 0))]));
    let mut lines: Vec<Option<usize>> = vec![None; 64];
    let mut begun_once = false;
    while !stage.is_over() {
        for (index, line) in lines.iter_mut().enumerate() {
            let who = match *line {
                Some(who) if !mob.heard(who).ended => who,
                gone => {
                    gone.into_iter().for_each(|who| mob.close(who));
                    let who = *line.insert(mob.open()?);
                    mob.raw(who, &upgrade);
                    if index == 0 {
                        mob.raw(who, &login);
                    }
                    if index % 3 == 2 {
                        mob.raw(who, &begun);
                    }
                    who
                }
            };
            if mob.waiting(who) == 0 {
                mob.raw(who, [&pings, &empty, &parts][index % 3]);
            }
        }
        mob.turn()?;
        if !std::mem::replace(&mut begun_once, true) {
            stage.begin();
        }
    }
    Ok(AttackOutcome::default())
}

/// A binary frame, masked with zeros, of less than 126 bytes.
fn frame(payload: &[u8]) -> Arc<[u8]> {
    let length = u8::try_from(payload.len()).unwrap_or(0) & 0x7f;
    let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame.into()
}
