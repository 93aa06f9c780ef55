//! Percent-decoding of path segments and query parameters.

use std::borrow::Cow;

/// Characters that stay escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None.
    Nothing,
    /// None, and `+` is a space, as in HTML forms.
    NothingPlusIsSpace,
    /// An escaped slash stays escaped.
    Slash,
    /// An escaped character stays escaped if it is reserved in RFC 6570.
    Reserved,
}

impl Keep {
    /// Returns true if the escape of this byte is kept.
    fn keeps(self, byte: u8) -> bool {
        match self {
            Self::Nothing | Self::NothingPlusIsSpace => false,
            Self::Slash => byte == b'/',
            Self::Reserved => is_reserved(byte),
        }
    }
}

/// Decodes `%XX`. Returns `None` if an escape is malformed or the result is not UTF-8.
pub(crate) fn decode(text: &str, keep: Keep) -> Option<Cow<'_, str>> {
    let plus = keep == Keep::NothingPlusIsSpace;
    let changes = |byte| byte == b'%' || (plus && byte == b'+');
    if !text.bytes().any(changes) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                let byte = hex(high)? << 4 | hex(low)?;
                if keep.keeps(byte) {
                    decoded.extend([b'%', high, low]);
                } else {
                    decoded.push(byte);
                }
            }
            b'+' if plus => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Returns true for the reserved characters of RFC 6570, which are those of RFC 3986.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{Keep, decode};

    #[test]
    fn escapes_are_decoded_and_malformed_ones_rejected() {
        let all = |text| decode(text, Keep::Nothing);
        assert_eq!(all("a%2Fb%c3%a4").as_deref(), Some("a/bä"));
        assert_eq!(all("a+b").as_deref(), Some("a+b"));
        assert_eq!(all("%2525").as_deref(), Some("%25"));
        for malformed in ["%", "%2", "%zz", "%+1", "%ff", "a%c3", "%C0%80"] {
            assert_eq!(all(malformed), None, "{malformed}");
        }
        let query = decode("a+b%2B", Keep::NothingPlusIsSpace);
        assert_eq!(query.as_deref(), Some("a b+"));
    }

    #[test]
    fn a_slash_stays_escaped_where_it_should() {
        let kept = |text| decode(text, Keep::Slash);
        assert_eq!(kept("a%2fb%2F%3A%20%7E+").as_deref(), Some("a%2fb%2F: ~+"));
        assert_eq!(kept("%2"), None);
    }

    #[test]
    fn reserved_characters_stay_escaped_where_they_should() {
        let kept = |text| decode(text, Keep::Reserved);
        assert_eq!(kept("a%2fb%3A%20%7E+").as_deref(), Some("a%2fb%3A ~+"));
        for byte in 0..0x80_u8 {
            let escaped = format!("%{byte:02X}");
            let stays = b"!#$&'()*+,/:;=?@[]".contains(&byte);
            let decoded = decode(&escaped, Keep::Reserved).unwrap();
            assert_eq!(decoded == escaped, stays, "{byte}");
        }
    }
}
