//! Tokens are recognizable, are rejected if they have a typo, and are never printed.

use keyward_crypto::{KeyHash, Token, TokenKind};
use sha2::{Digest, Sha256};

const KINDS: [TokenKind; 3] = [
    TokenKind::ISSUED_KEY,
    TokenKind::REPO_AI_KEY,
    TokenKind::REPO_AI_SECRET,
];

/// A token of known bytes, constructed by hand: the body is 00 01 … 1f, the checksum is that of CRC-32.
const KNOWN: &str = "sk-kw-v1-000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// CRC-32 of ISO 3309, bit by bit as in its specification.
fn crc32(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1;
            register = (register >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !register
}

fn known() -> String {
    format!("{KNOWN}{:08x}", crc32(KNOWN.as_bytes()))
}

#[test]
fn token_prefixes_are_frozen() {
    assert_eq!(TokenKind::ISSUED_KEY.prefix(), "sk-kw-v1-");
    assert!(
        TokenKind::ISSUED_KEY
            .prefix()
            .starts_with(TokenKind::ISSUED_KEY_FAMILY)
    );
    assert_eq!(TokenKind::REPO_AI_KEY.prefix(), "FB_AI_");
    assert_eq!(TokenKind::REPO_AI_SECRET.prefix(), "FB_AIS_");
}

#[test]
fn checksum_is_crc_32() {
    // Check value of the CRC catalogue.
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert!(Token::parse(TokenKind::ISSUED_KEY, &known()).is_some());
}

#[test]
fn made_token_is_read_back() {
    for kind in KINDS {
        let token = Token::generate(kind).unwrap();
        let text = token.expose();
        assert!(text.starts_with(kind.prefix()));
        assert_eq!(text.len(), kind.prefix().len() + 72);
        let read = Token::parse(kind, text).unwrap();
        assert_eq!(read.expose(), text);
        assert_eq!(read.hash(), token.hash());
    }
}

#[test]
fn made_tokens_differ() {
    let kind = TokenKind::ISSUED_KEY;
    let (one, two) = (
        Token::generate(kind).unwrap(),
        Token::generate(kind).unwrap(),
    );
    assert_ne!(one.expose(), two.expose());
    assert_ne!(one.hash(), two.hash());
}

#[test]
fn token_is_of_one_kind() {
    for kind in KINDS {
        let token = Token::generate(kind).unwrap();
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            assert!(Token::parse(other, token.expose()).is_none());
        }
    }
}

/// Tests every change of one character, and every exchange of two adjacent characters.
#[test]
fn typo_is_rejected() {
    let token = known();
    let parse = |text: &str| Token::parse(TokenKind::ISSUED_KEY, text);
    for place in 0..token.len() {
        for replacement in "0123456789abcdefABCDEFgxz-_ ".chars() {
            let mut typo: Vec<char> = token.chars().collect();
            if typo[place] == replacement {
                continue;
            }
            typo[place] = replacement;
            assert!(parse(&typo.iter().collect::<String>()).is_none(), "{place}");
        }
    }
    for place in 1..token.len() {
        let mut typo: Vec<char> = token.chars().collect();
        typo.swap(place - 1, place);
        let typo: String = typo.into_iter().collect();
        assert_eq!(parse(&typo).is_some(), typo == token, "{place}");
    }
}

#[test]
fn other_texts_are_no_tokens() {
    let token = known();
    let upper = token.to_uppercase();
    let body = format!("sk-kw-v1-{}", token["sk-kw-v1-".len()..].to_uppercase());
    let texts = [
        "",
        "sk-kw-v1-",
        &token[1..],
        &token[..token.len() - 1],
        &format!("{token}0"),
        &format!(" {token}"),
        &format!("{token}\n"),
        &upper,
        &body,
        "sk-kw-v1-éééééééééééééééééééééééééééééééééééé",
        &"é".repeat(40),
    ];
    for text in texts {
        assert!(Token::parse(TokenKind::ISSUED_KEY, text).is_none());
    }
}

#[test]
fn hash_is_sha_256_of_the_whole_text() {
    let token = Token::parse(TokenKind::ISSUED_KEY, &known()).unwrap();
    let expected: [u8; 32] = Sha256::digest(known()).into();
    assert_eq!(token.hash().as_bytes(), &expected);
    assert_eq!(token.hash().to_string(), hex::encode(expected));
    assert_eq!(KeyHash::parse(&hex::encode(expected)), Some(token.hash()));
}

#[test]
fn only_64_characters_of_lower_case_hex_are_a_hash() {
    let hash = Token::parse(TokenKind::ISSUED_KEY, &known())
        .unwrap()
        .hash()
        .to_string();
    for text in [
        "",
        &hash[1..],
        &format!("{hash}00"),
        &hash.to_uppercase(),
        &"x".repeat(64),
    ] {
        assert_eq!(KeyHash::parse(text), None);
    }
}

#[test]
fn label_shows_seven_characters_of_the_body() {
    let token = Token::parse(TokenKind::ISSUED_KEY, &known()).unwrap();
    let last = &known()[known().len() - 4..];
    assert_eq!(token.label(), format!("sk-kw-v1-000...{last}"));
}

#[test]
fn token_prints_nothing_of_itself() {
    let token = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    assert_eq!(
        format!("{token:?}"),
        "Token { kind: TokenKind { prefix: \"sk-kw-v1-\" }, text: [redacted] }"
    );
}
