//! DTMF digits as RTP payload: RFC 4733 §2.3.
//!
//! Of the events of RFC 4733 §3.2 only the sixteen digits are read; flash and the tones of §7 are not.

/// One of the sixteen keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digit(u8);

impl Digit {
    /// From its character: `0`–`9`, `*`, `#`, `A`–`D`, `a`–`d`.
    pub fn from_char(digit: char) -> Option<Self> {
        let digit = digit.to_ascii_uppercase();
        let code = CHARACTERS.iter().position(|it| *it == digit)?;
        u8::try_from(code).ok().map(Self)
    }

    /// From its event code, 0–15.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// Its event code, 0–15.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Its character.
    pub fn to_char(self) -> char {
        CHARACTERS.get(usize::from(self.0)).copied().expect("the code is below 16 by construction")
    }
}

impl std::fmt::Display for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_char())
    }
}

/// The four bytes of an event payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// The event code, of whatever event.
    pub code: u8,
    /// Whether the event has ended.
    pub end: bool,
    /// The tone's power: dBm0 with the sign dropped, 0–63.
    pub volume: u8,
    /// How long the event lasts so far, in units of the payload's clock, from the packet's timestamp on.
    pub duration: u16,
}

impl TelephoneEvent {
    /// The first event of a payload; `None` if it is shorter than four bytes.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk()?;
        Some(Self { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration: u16::from_be_bytes([high, low]) })
    }

    /// The payload.
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3f, high, low]
    }
}

const CHARACTERS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_codes_are_those_of_rfc_4733_table_3() {
        for (code, character) in (0..).zip("0123456789*#ABCD".chars()) {
            let digit = Digit::from_char(character).unwrap();
            assert_eq!((digit.code(), digit.to_char()), (code, character));
            assert_eq!(Digit::from_code(code), Some(digit));
        }
        assert_eq!(Digit::from_char('b'), Digit::from_char('B'));
        assert_eq!(Digit::from_char('E'), None);
        assert_eq!(Digit::from_code(16), None);
    }

    #[test]
    fn events_survive_writing_and_reading() {
        let event = TelephoneEvent { code: 11, end: true, volume: 10, duration: 1_600 };
        assert_eq!(event.to_bytes(), [11, 0x8a, 6, 64]);
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Some(event));
        assert_eq!(TelephoneEvent::parse(&[11, 0x8a, 6, 64, 99]), Some(event));
        assert_eq!(TelephoneEvent::parse(&[11, 0x8a, 6]), None);
    }
}
