//! Protobuf by its wire format alone (<https://protobuf.dev/programming-guides/encoding/>): no schema of the gateway's is used, so that a
//! wrong tag in one is not a wrong tag in both.

/// One field as it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A message: its fields in order, by number.
#[derive(Clone, Debug)]
pub struct Message<'a>(Vec<(u32, Field<'a>)>);

impl<'a> Message<'a> {
    /// Reads a whole message.
    pub fn read(bytes: &'a [u8]) -> Self {
        let (mut rest, mut fields) = (bytes, Vec::new());
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let field = match key & 7 {
                0 => Field::Varint(varint(&mut rest)),
                1 => Field::Fixed64(u64::from_le_bytes(take(&mut rest, 8).try_into().expect("eight bytes"))),
                2 => {
                    let length = varint(&mut rest) as usize;
                    Field::Bytes(take(&mut rest, length))
                }
                5 => Field::Fixed32(u32::from_le_bytes(take(&mut rest, 4).try_into().expect("four bytes"))),
                other => panic!("wire type {other}"),
            };
            fields.push(((key >> 3) as u32, field));
        }
        Self(fields)
    }

    /// Reads messages that each stand behind their length.
    pub fn read_delimited(bytes: &'a [u8]) -> Vec<Self> {
        let (mut rest, mut messages) = (bytes, Vec::new());
        while !rest.is_empty() {
            let length = varint(&mut rest) as usize;
            messages.push(Self::read(take(&mut rest, length)));
        }
        messages
    }

    /// All fields of a number.
    pub fn all(&self, number: u32) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter().filter(move |(known, _)| *known == number).map(|(_, field)| field)
    }

    /// All messages of a number.
    pub fn messages(&self, number: u32) -> Vec<Message<'a>> {
        let bytes =
            self.all(number).filter_map(|field| if let Field::Bytes(bytes) = field { Some(*bytes) } else { None });
        bytes.map(Message::read).collect()
    }

    /// The one message of a number.
    pub fn message(&self, number: u32) -> Message<'a> {
        self.messages(number).into_iter().next().unwrap_or_else(|| panic!("no field {number} in {self:?}"))
    }

    /// The bytes of a number; none where it is absent.
    pub fn bytes(&self, number: u32) -> &'a [u8] {
        let found =
            self.all(number).find_map(|field| if let Field::Bytes(bytes) = field { Some(*bytes) } else { None });
        found.unwrap_or_default()
    }

    /// The text of a number.
    pub fn text(&self, number: u32) -> String {
        String::from_utf8(self.bytes(number).to_vec()).expect("text is UTF-8")
    }

    /// The whole number of a number; 0 where it is absent.
    pub fn whole(&self, number: u32) -> u64 {
        let whole = |field: &Field<'_>| match field {
            Field::Varint(value) | Field::Fixed64(value) => Some(*value),
            Field::Fixed32(value) => Some(u64::from(*value)),
            Field::Bytes(_) => None,
        };
        self.all(number).find_map(whole).unwrap_or(0)
    }

    /// The same in zigzag.
    pub fn signed(&self, number: u32) -> i64 {
        unzigzag(self.whole(number))
    }

    /// The double of a number.
    pub fn double(&self, number: u32) -> Option<f64> {
        self.all(number)
            .find_map(|field| if let Field::Fixed64(bits) = field { Some(f64::from_bits(*bits)) } else { None })
    }
}

/// Varints in a row, as packed fields have them.
pub fn packed(bytes: &[u8]) -> Vec<u64> {
    let (mut rest, mut numbers) = (bytes, Vec::new());
    while !rest.is_empty() {
        numbers.push(varint(&mut rest));
    }
    numbers
}

pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    panic!("a varint without an end");
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(count).expect("a message that is whole");
    *rest = left;
    taken
}
