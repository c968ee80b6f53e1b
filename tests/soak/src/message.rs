//! A message: a header, and bytes that follow from it.

/// Of a message, on the wire.
const HEADER: usize = 20;

/// There is none after this.
pub const LAST: u32 = 1;
/// The end that answers this hangs up then.
pub const DISMISS: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub connection: u64,
    pub number: u32,
    pub flags: u32,
    pub length: u32,
}

impl Message {
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.connection.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend(self.body());
    }

    /// The message at the beginning of `bytes`, and how many it takes; none if there are more to come.
    pub fn read_from(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
        let Some((header, body)) = bytes.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&header[at..at + 4]);
            u32::from_le_bytes(word)
        };
        let message = Message {
            connection: u64::from(word(0)) | u64::from(word(4)) << 32,
            number: word(8),
            flags: word(12),
            length: word(16),
        };
        let length = message.length as usize;
        let Some(body) = body.get(..length) else {
            return Ok(None);
        };
        if message.body().eq(body.iter().copied()) {
            Ok(Some((message, HEADER + length)))
        } else {
            Err(format!("{message:?} came with other bytes"))
        }
    }

    fn body(&self) -> impl Iterator<Item = u8> {
        let first = self.connection.wrapping_mul(31) + u64::from(self.number) * 7;
        (0..u64::from(self.length)).map(move |at| first.wrapping_add(at * 5) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_when_it_is_there_and_as_it_was_written() {
        let message = Message {
            connection: 1 << 40 | 7,
            number: 3,
            flags: LAST,
            length: 1000,
        };
        let mut bytes = Vec::new();
        message.write_to(&mut bytes);
        for part in [0, HEADER - 1, HEADER, bytes.len() - 1] {
            assert_eq!(Message::read_from(&bytes[..part]), Ok(None));
        }
        bytes.push(0);
        let read = Message::read_from(&bytes);
        assert_eq!(read, Ok(Some((message, HEADER + 1000))));
        bytes[500] ^= 1;
        assert!(Message::read_from(&bytes).is_err());
    }
}
