//! Frames of a WebSocket as clients send them (RFC 6455 section 5.2).

/// The mask of [`masked`]: no byte of a payload goes through as it is.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame; `first` is its first byte, so that it can be one that no client may send.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_by(MASK, first, payload)
}

/// A frame under this mask.
pub(crate) fn masked_by(mask: [u8; 4], first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
