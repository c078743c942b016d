//! Java's reading of decimal numbers.

/// `Double.valueOf`: blanks around it, a sign, `NaN`, `Infinity`, and an `f` or a `d` behind the number are allowed.
/// What Java has beyond that, numbers in hexadecimal with a binary exponent, is not read.
pub(super) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|character| character <= ' ');
    let (negative, number) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = match number {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = number.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(number);
            // Rust reads names and signs that Java does not.
            let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
            let begins = matches!(digits.as_bytes(), [b'0'..=b'9' | b'.', ..]);
            match begins && digits.bytes().all(plain) {
                true => digits.parse::<f64>().ok()?,
                false => return None,
            }
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}
