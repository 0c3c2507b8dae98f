//! The framer: any cutting of a stream gives the same frames.

use palabre::wire::framer::{FRAME_END, Framer};

/// Takes the limit from the first byte and the cuts from the second; the rest is the stream.
///
/// # Panics
/// When the check fails.
pub fn check(data: &[u8]) {
    let [max, cuts, stream @ ..] = data else { return };
    let max = usize::from(*max);
    let expected = frames_by_hand(stream, max);
    for mut cutter in [Cutter::whole(), Cutter::even(1), Cutter::by_chance(*cuts)] {
        assert_eq!(frames(stream, max, &mut cutter, false), expected, "{cutter:?}");
    }
    let mut cutter = Cutter::by_chance(*cuts);
    assert_eq!(frames(stream, max, &mut cutter, true), expected, "each offered twice");
}

/// The frames of a stream, and whether it was within the limit as far as it went.
type Frames = (Vec<Vec<u8>>, bool);

/// What section 1 of the protocol says, without a buffer.
fn frames_by_hand(stream: &[u8], max: usize) -> Frames {
    let mut frames = Vec::new();
    let mut pieces = stream.split(|&byte| byte == FRAME_END).peekable();
    while let Some(piece) = pieces.next() {
        if piece.len() > max {
            return (frames, false);
        }
        if pieces.peek().is_some() {
            frames.push(piece.to_vec());
        }
    }
    (frames, true)
}

fn frames(mut stream: &[u8], max: usize, cutter: &mut Cutter, twice: bool) -> Frames {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let (chunk, rest) = stream.split_at(cutter.next(stream.len()));
        stream = rest;
        let mut offered = false;
        let mut cut = framer.cut(chunk, max);
        loop {
            match cut.next_frame() {
                Ok(Some(_)) if twice && !offered => {
                    offered = true;
                    cut.retract();
                    if cutter.next(2) == 1 {
                        drop(cut);
                        cut = framer.cut(&[], max);
                    }
                }
                Ok(Some(frame)) => {
                    offered = false;
                    frames.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// Says how long the next chunk is.
#[derive(Debug)]
struct Cutter {
    step: Option<usize>,
    state: u64,
}

impl Cutter {
    const fn whole() -> Self {
        Self { step: Some(usize::MAX), state: 0 }
    }

    const fn even(step: usize) -> Self {
        Self { step: Some(step), state: 0 }
    }

    const fn by_chance(seed: u8) -> Self {
        Self { step: None, state: seed as u64 }
    }

    /// At least one byte, at most `left`.
    fn next(&mut self, left: usize) -> usize {
        // Knuth's MMIX generator: its upper bits are good enough to cut by.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let chosen = self.step.unwrap_or(1 + (self.state >> 60) as usize);
        chosen.min(left)
    }
}
