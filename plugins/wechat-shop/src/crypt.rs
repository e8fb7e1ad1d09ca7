//! The platform's signature and encryption.

use aes::cipher::{BlockDecryptMut as _, KeyIvInit as _, block_padding::NoPadding};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// Keys come without padding and with stray bits at their end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// SHA-1 over these, sorted and put together, in hex.
pub(crate) fn signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    let digest = Sha1::digest(parts.concat());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The message within: AES-256-CBC, padded to 32 bytes; 16 random bytes, the length, the message, the app's id.
pub(crate) fn decrypt(key: &str, encrypted: &str) -> Result<String, &'static str> {
    let key = LENIENT.decode(key).map_err(|_| "the secret's key is not base64")?;
    if key.len() != 32 {
        return Err("the secret's key must have 43 letters and digits");
    }
    let mut data = LENIENT.decode(encrypted).map_err(|_| "what is encrypted is not base64")?;
    let decryptor = cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, &key[..16]).map_err(|_| "the key does not fit")?;
    let plain = decryptor.decrypt_padded_mut::<NoPadding>(&mut data).map_err(|_| "it is not whole blocks")?;
    let padding = usize::from(*plain.last().ok_or("nothing is encrypted")?);
    let plain = plain.get(..plain.len().saturating_sub(padding)).filter(|_| (1..=32).contains(&padding));
    let plain = plain.ok_or("it was encrypted with another key")?;
    let length: [u8; 4] = plain.get(16..20).and_then(|it| it.try_into().ok()).ok_or("it is too short")?;
    let message = plain.get(20..).and_then(|rest| rest.get(..u32::from_be_bytes(length) as usize));
    let message = message.ok_or("it was encrypted with another key")?;
    String::from_utf8(message.to_vec()).map_err(|_| "the message is not UTF-8")
}

/// A moment in UTC, as RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month_of_year) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month_of_year <= 2);
    format!("{year:04}-{month_of_year:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest % 3600 / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_platforms_own_documentation() {
        let signed = signature(&["AAAAA", "1714036504", "1514711492"]);
        assert_eq!(signed, "f464b24fc39322e44b38aa78f5edd27bd1441696");
    }

    #[test]
    fn the_message_of_the_platforms_own_sample() {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
        let encrypted = "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=";
        assert_eq!(
            signature(&["spamtest", "1409735669", "1320562132", encrypted]),
            "5d197aaffba7e9b25a30732f161a50dee96bd5fa"
        );
        let message = decrypt(key, encrypted).expect("it decrypts");
        assert!(message.contains("<FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]>"), "{message}");
        let other = decrypt("bbcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", encrypted);
        assert!(other.is_err() || other.is_ok_and(|text| text != message));
        assert!(decrypt("short", encrypted).is_err());
        assert!(decrypt(key, "AAAA").is_err());
    }

    #[test]
    fn moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }
}
