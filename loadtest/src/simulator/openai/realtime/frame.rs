//! WebSocket frames as a suspicious server reads them (RFC 6455 §5), and the digest of its handshake (§1.3, FIPS 180-4).

/// What came in one message.
#[derive(Debug, PartialEq)]
pub(in crate::simulator) enum Message {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    /// The code that was given, if any.
    Close(Option<u16>),
}

/// The close code of a broken rule.
const BROKEN: u16 = 1002;
/// The close code of a message that is too big.
const TOO_BIG: u16 = 1009;
/// Bytes of one message at most.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes the first whole message off the front of `input`; `None` while there is none.
///
/// # Errors
/// The code with which the connection must be closed.
pub(in crate::simulator) fn take(input: &mut Vec<u8>) -> Result<Option<Message>, u16> {
    let mut text = Vec::new();
    let mut at = 0;
    let mut begun = false;
    loop {
        let Some((first, payload, used)) = one(&input[at..])? else { return Ok(None) };
        let (last, kind) = (first & 0x80 != 0, first & 0x0f);
        at += used;
        let whole = match kind {
            // A control frame may stand between the frames of a message, but one client in one test need not do that.
            8..=10 if begun || !last || payload.len() > 125 => return Err(BROKEN),
            8 => Message::Close(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))),
            9 => Message::Ping(payload),
            10 => Message::Pong,
            0 if !begun => return Err(BROKEN),
            1 if begun => return Err(BROKEN),
            0 | 1 => {
                begun = true;
                text.extend_from_slice(&payload);
                if text.len() > MESSAGE_BYTES_MAX {
                    return Err(TOO_BIG);
                }
                if !last {
                    continue;
                }
                Message::Text(String::from_utf8(std::mem::take(&mut text)).map_err(|_| 1007_u16)?)
            }
            _ => return Err(1003),
        };
        input.drain(..at);
        return Ok(Some(whole));
    }
}

/// One frame: its first byte, its unmasked payload, and the bytes it took.
fn one(input: &[u8]) -> Result<Option<(u8, Vec<u8>, usize)>, u16> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Err(BROKEN);
    }
    let (length, extra) = match second & 0x7f {
        126 => (rest.first_chunk::<2>().map(|two| u64::from(u16::from_be_bytes(*two))), 2),
        127 => (rest.first_chunk::<8>().map(|eight| u64::from_be_bytes(*eight)), 8),
        short => (Some(u64::from(short)), 0),
    };
    let Some(length) = length else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX).ok_or(TOO_BIG)?;
    let Some((mask, data)) = rest.get(extra..).and_then(|rest| rest.split_first_chunk::<4>()) else { return Ok(None) };
    let Some(data) = data.get(..length) else { return Ok(None) };
    let payload = data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((*first, payload, 2 + extra + 4 + length)))
}

/// One unmasked frame of a whole message: kind 1 is text, 8 a close, 10 a pong.
pub(in crate::simulator) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | kind];
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The digest that a handshake asks for; not fit for anything secret.
pub(super) fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.as_chunks::<64>().0 {
        let mut words = [0_u32; 80];
        for (word, four) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*four);
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (word, more) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(more);
        }
    }
    let mut out = [0; 20];
    for (four, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::seal::base64;

    #[test]
    fn the_handshake_of_the_rfc_comes_out() {
        let text = b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        assert_eq!(base64(&sha1(text)), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_of_the_rfc_are_read_and_bad_ones_refused() {
        // RFC 6455 §5.7: a masked "Hello", whole and in two frames.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        for cut in 0..hello.len() {
            assert_eq!(take(&mut hello[..cut].to_vec()), Ok(None), "{cut}");
        }
        assert_eq!(take(&mut hello.to_vec()), Ok(Some(Message::Text("Hello".into()))));
        let two = [&[0x01, 0x83, 0, 0, 0, 0][..], b"Hel", &[0x80, 0x82, 0, 0, 0, 0], b"lo", &[0x89, 0x80, 0, 0, 0, 0]]
            .concat();
        let mut input = two;
        assert_eq!(take(&mut input), Ok(Some(Message::Text("Hello".into()))));
        assert_eq!(take(&mut input), Ok(Some(Message::Ping(Vec::new()))));
        assert_eq!(take(&mut vec![0x81, 0x05, b'H']), Err(BROKEN), "a client must mask");
        assert_eq!(take(&mut vec![0xc1, 0x80, 0, 0, 0, 0]), Err(BROKEN), "a reserved bit");
        assert_eq!(take(&mut vec![0x80, 0x80, 0, 0, 0, 0]), Err(BROKEN), "nothing to go on with");
        assert_eq!(frame(1, b"Hello"), [0x81, 5, b'H', b'e', b'l', b'l', b'o']);
    }
}
