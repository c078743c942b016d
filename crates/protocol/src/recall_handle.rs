//! The handle by which a timed message is called off (`RecallMessageHandle.HandleV1`): `v1 topic broker time uniqueKey` in
//! base64 for URLs.

#[cfg(test)]
mod tests;

/// What a handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic the message is for.
    pub topic: String,
    /// Name of the broker that has it.
    pub broker: String,
    /// When it leaves the timer, ms since the epoch, as text.
    pub time: String,
    /// Its unique key.
    pub unique_key: String,
}

impl RecallHandle {
    /// The handle as clients get it.
    pub fn encode(&self) -> String {
        let RecallHandle {
            topic,
            broker,
            time,
            unique_key,
        } = self;
        base64(format!("v1 {topic} {broker} {time} {unique_key}").as_bytes())
    }

    /// Reads a handle; `None` if it is none.
    pub fn decode(handle: &str) -> Option<RecallHandle> {
        let text = String::from_utf8(unbase64(handle.as_bytes())?).ok()?;
        // Its parts become properties of a message: marks in them would make others of what follows.
        if text.chars().any(char::is_control) {
            return None;
        }
        let mut items = text.split(' ').map(str::to_owned);
        if items.next()? != "v1" {
            return None;
        }
        let handle = RecallHandle {
            topic: items.next()?,
            broker: items.next()?,
            time: items.next()?,
            unique_key: items.next()?,
        };
        // Java drops empty items at the end, and then has too few.
        (!handle.unique_key.is_empty()).then_some(handle)
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| group.get(index).map_or(0, |byte| u32::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(match digit <= group.len() {
                true => char::from(DIGITS[value as usize]),
                false => '=',
            });
        }
    }
    text
}

/// As Java's: padding may be left out, but not be wrong.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [rest @ .., b'=', b'='] if text.len().is_multiple_of(4) => rest,
        [rest @ .., b'='] if text.len().is_multiple_of(4) => rest,
        all => all,
    };
    if digits.is_empty() || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| known == digit)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}
