//! How a short input stands for a long one: what is quadratic shows itself by its length.

/// Begins a repetition: how often, how many bytes, and the bytes. No stanza holds this byte.
const MANY: u8 = 1;

/// The input with its repetitions written out, each as often as the square of the number that it
/// has, and no longer than `max`.
pub fn written_out(short: &[u8], max: usize) -> Vec<u8> {
    let mut long = Vec::new();
    let mut rest = short;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match behind {
            [times, count, text @ ..] if *byte == MANY => {
                let (piece, behind) = text.split_at(text.len().min(usize::from(*count)));
                let bytes = usize::from(*times) * usize::from(*times) * piece.len();
                long.extend(piece.iter().cycle().take(bytes.min(max.saturating_sub(long.len()))));
                rest = behind;
            }
            _ => long.push(*byte),
        }
    }
    long
}
